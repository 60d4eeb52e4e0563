#include "io/tables/byte_source.h"

#include <bzlib.h>
#include <lzma.h>
#include <zstd.h>

#include "base/text.h"
#include "io/tables/line_reader.h"
#include "tests/io/files.h"

namespace micrec {
namespace {

std::string with_bzip2(const std::string& bytes) {
  std::string out(bytes.size() + bytes.size() / 100 + 600, '\0');
  auto size = static_cast<unsigned>(out.size());
  EXPECT_EQ(BZ2_bzBuffToBuffCompress(out.data(), &size, const_cast<char*>(bytes.data()),
                                     static_cast<unsigned>(bytes.size()), 1, 0, 0),
            BZ_OK);
  return out.substr(0, size);
}

std::string with_xz(const std::string& bytes) {
  std::string out(lzma_stream_buffer_bound(bytes.size()), '\0');
  std::size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(
                0, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                bytes.size(), reinterpret_cast<std::uint8_t*>(out.data()), &size, out.size()),
            LZMA_OK);
  return out.substr(0, size);
}

/// With a checksum, which the simple call does not write.
std::string with_zstd(const std::string& bytes) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  const std::size_t size =
      ZSTD_compress2(context, out.data(), out.size(), bytes.data(), bytes.size());
  ZSTD_freeCCtx(context);
  EXPECT_EQ(ZSTD_isError(size), 0U);
  return out.substr(0, size);
}

struct Kind {
  Compression compression;
  std::string (*pack)(const std::string&);
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << name_of(kind.compression); }

class Compressed : public testing::TestWithParam<Kind> {
 protected:
  std::string all_lines(const std::string& bytes) {
    folder_.write("file", bytes);
    LineReader reader(folder_ / "file");
    std::string_view line;
    std::string all;
    while (reader.next(&line)) all += std::string(line) + "\n";
    return all;
  }

  /// Longer than every buffer, and as good as impossible to make smaller.
  static std::string many_lines() {
    std::string lines;
    std::uint64_t state = 1;
    for (int i = 0; i < 60'000; ++i) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      lines += text(i, " ", state, "\n");
    }
    return lines;
  }

  const TemporaryFolder folder_;
};

TEST_P(Compressed, IsReadWhateverItsName) {
  for (const std::string& bytes : {many_lines(), std::string("one\n"), std::string()}) {
    const std::string packed = GetParam().pack(bytes);
    EXPECT_EQ(compression_of(packed), GetParam().compression);
    EXPECT_TRUE(all_lines(packed) == bytes) << bytes.size() << " bytes";
  }
}

TEST_P(Compressed, MayBeJoinedAndPadded) {
  const std::string packed = GetParam().pack("one\n") + GetParam().pack("two\n");
  EXPECT_EQ(all_lines(packed), "one\ntwo\n");
  EXPECT_EQ(all_lines(packed + std::string(4096, '\0')), "one\ntwo\n");
  expect_error(Cause::data, {"followed by other bytes after line 2"},
               [&] { all_lines(packed + "three\n"); });
}

TEST_P(Compressed, IsRefusedWhereItIsCutOff) {
  const std::string whole = GetParam().pack(many_lines());
  for (const std::size_t size : {whole.size() - 1, whole.size() / 2, std::size_t{20}}) {
    expect_error(Cause::data,
                 {text("the ", name_of(GetParam().compression), " data are cut off after line "),
                  "fetch the file again"},
                 [&] { all_lines(whole.substr(0, size)); });
  }
}

TEST_P(Compressed, IsRefusedWhereItIsDamaged) {
  std::string bytes = GetParam().pack(many_lines());
  for (std::size_t i = bytes.size() / 2; i < bytes.size() / 2 + 8; ++i)
    bytes[i] = static_cast<char>(~bytes[i]);
  expect_error(Cause::data, {text("the ", name_of(GetParam().compression), " data are damaged (")},
               [&] { all_lines(bytes); });
}

TEST_P(Compressed, IsNamedInsideAnother) {
  const std::string inside = GetParam().pack("one\n");
  for (const auto& pack : {gzip, with_zstd}) {
    expect_error(Cause::data,
                 {text(name_of(GetParam().compression), " data inside compressed data")},
                 [&] { all_lines(pack(inside)); });
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, Compressed,
    testing::Values(Kind{Compression::gzip, gzip}, Kind{Compression::bzip2, with_bzip2},
                    Kind{Compression::xz, with_xz}, Kind{Compression::zstd, with_zstd}),
    [](const auto& info) { return std::string(name_of(info.param.compression)); });

TEST(ByteSource, RefusesAWindowThatTakesTooMuchMemory) {
  const TemporaryFolder folder;
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 28);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  std::string out(1024, '\0');
  ZSTD_inBuffer in = {"one\n", 4, 0};
  ZSTD_outBuffer buffer = {out.data(), out.size(), 0};
  ASSERT_EQ(ZSTD_compressStream2(context, &buffer, &in, ZSTD_e_flush), 0U);
  ASSERT_EQ(ZSTD_compressStream2(context, &buffer, &in, ZSTD_e_end), 0U);
  ZSTD_freeCCtx(context);
  folder.write("wide.zst", out.substr(0, buffer.pos));
  expect_error(Cause::data, {folder / "wide.zst", "need more memory", "without --long"},
               [&] { LineReader reader(folder / "wide.zst"); });
}

}  // namespace
}  // namespace micrec
