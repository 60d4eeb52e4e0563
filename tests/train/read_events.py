"""Reads the TensorBoard file of tensorboard_test.cpp and compares it with what was logged.

usage: read_events.py EVENTS_FILE
The file is taken apart here from the published formats alone (TFRecord, protocol buffers, event.proto); where the
package tensorboard is installed, its own reader must say the same.
"""

import struct
import sys

import numpy as np


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc):
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        (length_crc,) = struct.unpack_from("<I", data, at + 8)
        assert length_crc == masked(crc32c(data[at : at + 8])), "checksum of a length"
        record = data[at + 12 : at + 12 + length]
        (record_crc,) = struct.unpack_from("<I", data, at + 12 + length)
        assert record_crc == masked(crc32c(record)), "checksum of a record"
        yield record
        at += 16 + length


def varint(data, at):
    number, shift = 0, 0
    while True:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return number, at


def fields(message):
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(message, at)
        elif wire == 1:
            (value,), at = struct.unpack_from("<d", message, at), at + 8
        elif wire == 5:
            (value,), at = struct.unpack_from("<f", message, at), at + 4
        else:
            assert wire == 2, wire
            size, at = varint(message, at)
            value, at = message[at : at + size], at + size
            assert len(value) == size
        yield field, value


def scalars(path):
    found, first, start = [], True, None
    with open(path, "rb") as file:
        data = file.read()
    for record in records(data):
        event = dict(fields(record))
        assert 1.6e9 < event[1] < 1e10, "wall time in seconds"
        if first:
            assert event[3] == b"brain.Event:2"
            first = False
        elif 7 in event:
            assert dict(fields(event[7])) == {1: 1}, "a session starts"
            start = event[2]
        else:
            for field, value in fields(event[5]):
                assert field == 1
                parts = dict(fields(value))
                found.append((parts[1].decode(), event[2], parts[2]))
    return found, start


def main():
    path = sys.argv[1]
    expected = []
    for step in (30, 40, 5_000_000_000):
        expected.append(("loss/total", step, float(np.float32(1 / step))))
        expected.append(("validation/ndcg@20", step, float(np.float32(-step))))
    expected.append(("x" * 300, 5_000_000_001, 0.5))
    found, start = scalars(path)
    assert found == expected, found
    assert start == 21, start

    try:
        from tensorboard.backend.event_processing import event_accumulator
    except ImportError:
        return
    accumulator = event_accumulator.EventAccumulator(path)
    accumulator.Reload()
    for tag in ("loss/total", "validation/ndcg@20", "x" * 300):
        got = [(tag, event.step, event.value) for event in accumulator.Scalars(tag)]
        assert got == [row for row in expected if row[0] == tag], got
    print("tensorboard's reader agrees")


if __name__ == "__main__":
    main()
