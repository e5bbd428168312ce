"""Scripts as people write them for safetensors: other import lines and keys, and they run to the same result.

The scripts are text. A transformation changes the modules in their import lines and adds `recipients=` or `identity=` to the calls of the
verbs, and nothing else; then both versions run, each in a folder of its own.
"""

import ast
import textwrap
from pathlib import Path
from typing import Any

import pytest

from . import both

WRITING, READING = {"save", "save_file", "save_model"}, {"load", "load_file", "load_model", "safe_open"}

SCRIPTS: dict[str, str] = {
    "numpy": """
        import numpy as np
        from safetensors.numpy import load, load_file, save, save_file

        tensors = {"embedding": np.arange(12.0).reshape(3, 4), "attention": np.ones((2, 5), dtype=np.float16)}
        save_file(tensors, "model.safetensors", metadata={"framework": "np"})
        loaded = load_file("model.safetensors")
        again = load(save(loaded))
        loaded["embedding"] += 1
        result = [loaded, again, sorted(again)]
        """,
    "slices": """
        import torch
        from safetensors import safe_open
        from safetensors.torch import save_file

        save_file({"embedding": torch.arange(80).reshape(10, 8), "weight": torch.ones(3)}, "model.safetensors")
        with safe_open("model.safetensors", framework="pt", device="cpu") as f:
            tensor_slice = f.get_slice("embedding")
            vocab_size, hidden_dim = tensor_slice.get_shape()
            ranks = [tensor_slice[:, rank * hidden_dim // 2 : (rank + 1) * hidden_dim // 2] for rank in range(2)]
            last = tensor_slice[-2:]
            rows = [row for row in tensor_slice]
        result = [ranks, last, rows, vocab_size]
        """,
    "every tensor of a file": """
        import torch
        from safetensors import safe_open
        from safetensors.torch import save_file

        save_file({"b": torch.zeros(2, 2), "a": torch.arange(3, dtype=torch.bfloat16)}, "model.safetensors", {"epoch": "3"})
        tensors = {}
        with safe_open("model.safetensors", framework="pt", device="cpu", backend="pread") as f:
            for key in f.keys():
                tensors[key] = f.get_tensor(key)
            metadata = f.metadata()
            names = f.offset_keys()
        result = [tensors, metadata, names, f"epoch {int(metadata['epoch'])}"]
        """,
    "a file that is opened without a block": """
        import numpy as np
        from safetensors import safe_open
        from safetensors.numpy import save_file

        save_file({"a": np.eye(3), "b": np.full((), 2.0)}, "model.safetensors")
        f = safe_open("model.safetensors", framework="numpy")
        result = [f.get_tensor("a"), f.get_slice("a")[1], f.get_tensors(), f.metadata()]
        """,
    "a checkpoint": """
        import torch
        from safetensors.torch import load_file, save_file

        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 2), torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(12, 2))
        save_file(model.state_dict(), "checkpoint.safetensors", metadata={"format": "pt"})
        fresh = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 2), torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(12, 2))
        print(fresh.load_state_dict(load_file("checkpoint.safetensors", device="cpu")))
        image = torch.ones(1, 1, 3, 3)
        result = [model.eval()(image), fresh.eval()(image)]
        """,
    "a model with tied weights": """
        import torch
        from safetensors import safe_open
        from safetensors.torch import load_model, save_model

        class Tied(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = torch.nn.Embedding(7, 4)
                self.head = torch.nn.Linear(4, 7, bias=False)
                self.head.weight = self.embedding.weight

        torch.manual_seed(1)
        model, fresh = Tied(), Tied()
        save_model(model, "model.safetensors", metadata={"format": "pt"})
        missing, unexpected = load_model(fresh, "model.safetensors", strict=True, device="cpu")
        with safe_open("model.safetensors", framework="pt") as f:
            metadata = f.metadata()
        result = [dict(fresh.state_dict()), sorted(missing), unexpected, metadata, fresh.head.weight is fresh.embedding.weight]
        """,
    "errors that it catches": """
        import numpy as np
        from safetensors import SafetensorError, safe_open
        from safetensors.numpy import load_file, save_file

        result = []
        try:
            load_file("nowhere.safetensors")
        except FileNotFoundError as error:
            result.append(str(error))
        try:
            save_file({"a": np.array(["text"])}, "model.safetensors")
        except SafetensorError:
            result.append("type")
        save_file({"a": np.zeros((2, 3))}, "model.safetensors")
        with safe_open("model.safetensors", framework="np") as f:
            for call in (lambda: f.get_tensor("b"), lambda: f.get_slice("a")[0, 7], lambda: f.get_slice("a")[[0, 1]]):
                try:
                    call()
                except SafetensorError as error:
                    result.append(str(error).split(" (")[0])
        try:
            f.keys()
        except SafetensorError as error:
            result.append(str(error))
        """,
    "mixed precision": """
        import torch
        from pathlib import Path
        from safetensors.torch import load, load_file, save, save_file

        weights = {f"layer.{i}": torch.full((i + 1, 2), i / 3).to(dtype) for i, dtype in enumerate(
            (torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.bool))}
        path = Path("quantized.safetensors")
        save_file(weights, path)
        blob = save(weights)
        assert load(blob).keys() == load_file(path).keys()
        result = [load_file(path), load(blob)]
        """,
}


class Change(ast.NodeTransformer):
    """Import lines and keyword arguments."""

    def __init__(self, framework: str) -> None:
        self.framework = framework

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        if node.module == "safetensors":
            theirs = [alias for alias in node.names if alias.name == "SafetensorError"]
            ours = [alias for alias in node.names if alias.name != "SafetensorError"]
            kept = [ast.ImportFrom("safetensors", theirs, 0)] if theirs else []
            return [*kept, ast.ImportFrom(f"stfed.sealed.{self.framework}", ours, 0)]
        if node.module is not None and node.module.startswith("safetensors."):
            node.module = node.module.replace("safetensors.", "stfed.sealed.")
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in WRITING:
            node.keywords.append(ast.keyword("recipients", ast.Name("RECIPIENT", ast.Load())))
        if isinstance(node.func, ast.Name) and node.func.id in READING:
            node.keywords.append(ast.keyword("identity", ast.Name("IDENTITY", ast.Load())))
        return node


def adapted(script: str) -> str:
    framework = "torch" if "torch" in script else "numpy"
    return ast.unparse(ast.fix_missing_locations(Change(framework).visit(ast.parse(script))))


def run(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder.mkdir()
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"RECIPIENT": both.RECIPIENT, "IDENTITY": both.IDENTITY, "__name__": "script"}
    exec(compile(script, "script", "exec"), names)
    return both.form(names["result"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_with_another_import_line_and_keys(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = textwrap.dedent(SCRIPTS[name])
    expected = run(script, tmp_path / "plain", monkeypatch)
    assert expected
    assert run(adapted(script), tmp_path / "sealed", monkeypatch) == expected
    for path in (tmp_path / "sealed").iterdir():
        assert b"stfed" in path.read_bytes()[:4096]


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_else_of_the_script_changes(name: str) -> None:
    """Lines that neither import safetensors nor call a verb are the same in both."""
    script = textwrap.dedent(SCRIPTS[name])
    before, after = ast.unparse(ast.parse(script)).splitlines(), adapted(script).splitlines()
    left = {line for line in before if line not in after}
    verbs = WRITING | READING
    assert all("safetensors" in line or any(f"{verb}(" in line for verb in verbs) for line in left)
    assert all("identity=IDENTITY" in line or "recipients=RECIPIENT" in line or "import" in line for line in after if line not in before)
