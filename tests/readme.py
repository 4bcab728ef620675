#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the pages show is what is tested: every block of code in every Markdown file of the tree is one of
  - ```cpp that is a file of examples/ without its opening comment, or {literalinclude} of a tested file,
  - ```console: commands that tests/docs/run_page.py runs, or that build or test the tree and exist as they are written,
  - ```toml with a comment "file: NAME" before it, that a later command of the page uses,
  - a block of a page that a test of its own reads (READ_BY),
  - ```text: output, or a drawing.
Links between the pages lead somewhere, and so do the files and the make targets that README.md names.

    readme.py <root of the tree>
    readme.py --self-check
"""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "docs"))
import pages  # noqa: E402

# Pages some kinds of blocks of which another test reads, and does what they say.
READ_BY = {"docs/package.md": ("tests/package/check.py", {"sh", "cmake"}),
           "docs/service.md": ("tests/package/check.py", {"ini"}),
           "bindings/python/README.md": ("tests/python/test_readme.py", {"python"}),
           "README.md": ("tests/python/test_readme.py", {"python"})}

# Directives of MyST that show no code of their own.
NO_CODE = {"toctree", "admonition", "note", "warning", "glossary", "figure", "raw", "doxygenfile"}


class Tree:
    """What the pages are held against: files of the tree by path."""

    def __init__(self, root):
        self.root = root

    def path(self, name):
        return os.path.join(self.root, name)

    def exists(self, name):
        return os.path.exists(self.path(name))

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def listed(self, folder):
        return sorted(os.listdir(self.path(folder))) if self.exists(folder) else []


def without_opening_comment(code):
    return "\n".join(line for line in code.splitlines() if not line.startswith("//")).strip()


def is_tested(path, tree):
    """Whether a file that a page shows is run by a test: examples/CMakeLists.txt says which are."""
    if path.startswith(("tests/", "capi/qkd004.h")):
        return True
    match = re.fullmatch(r"examples/((?:c/|python/)?)\w+(\.\w+)", path)
    return bool(match) and f"CONFIGURE_DEPENDS {match[1]}*{match[2]})" in tree.read("examples/CMakeLists.txt")


def wrong_command(command, page, tree):
    """What is wrong with a command that builds or tests the tree, or None."""
    said = pages.words(command)
    # name=value before a program, and $NAME that an earlier line of the page has set
    setting = dict(re.findall(r"^(?:\$ )?([A-Z]+)=(build/\S+)", page, re.M))
    program = said[0]
    if re.match(r"^[A-Z]+=build/", program):
        program = program.split("=", 1)[1]
    elif program.startswith("$"):
        if program[1:] not in setting:
            return f"{program} is not set on this page"
        program = setting[program[1:]]
    if program == "pip" and ". .venv/bin/activate" not in page:
        return "pip outside of a virtual environment: Debian refuses it"
    if program == ".ci/packages":
        for task in said[1:]:
            if not re.search(rf"^  {task}\)", tree.read(program), re.M):
                return f"{program} does not know {task}"
    if program == "make":
        for target in (word for word in said[1:] if re.fullmatch(r"[a-z]+", word)):
            if not re.search(rf"^{target}:", tree.read("Makefile"), re.M):
                return f"the Makefile does not know {target}"
    if program in ("cmake", "ctest"):
        presets = json.loads(tree.read("CMakePresets.json"))["configurePresets"]
        names = {preset["name"] for preset in presets if not preset.get("hidden")}
        for option, value in zip(said, said[1:]):
            if option == "--preset" and value not in names:
                return f"there is no preset {value}"
            if option == "-L" and not re.search(rf"\b{value}\b", tree.read("tests/CMakeLists.txt")
                                                + tree.read("examples/CMakeLists.txt")):
                return f"no test has the label {value}"
            if option == "--target" and value.startswith("example_") and \
                    not tree.exists(f"examples/{value[len('example_'):]}.cpp"):
                return f"there is no target {value}"
    if program == "python3":
        said = [word for word in said[1:] if word != "-B"]
        program = said[0] if said else ""
    source = None
    if match := re.match(r"build/\w+/tests/(\w+)/", program):
        source = f"tests/{match[1]}"
    elif match := re.match(r"build/\w+/tests/test_(\w+)$", program):
        return None if tree.exists(f"tests/{match[1]}") else f"there is no room {match[1]}"
    elif match := re.match(r"build/\w+/benchmarks/bench_(\w+)$", program):
        source = f"benchmarks/{match[1]}.cpp"
    elif "/" in program:
        source = program
    if source:
        if not tree.exists(source):
            return f"there is no {source}"
        text = "".join(tree.read(f"{source}/{name}") for name in tree.listed(source)
                       if name.endswith((".cpp", ".py"))) if "." not in source else tree.read(source)
        for option in (word for word in said[1:] if word.startswith("--")):
            if option not in text:
                return f"{source} does not know {option}"
    return None


def block_violations(name, text, tree):
    """What is wrong with the blocks of one page."""
    found = []
    shown = pages.blocks(text)
    for at, block in enumerate(shown):
        if isinstance(block, pages.Stop):
            continue
        where = f"{name}:{block.line}"
        directive = re.match(r"^\{([\w:-]+)\}\s*(.*)$", block.kind)
        if directive and directive[1] == "literalinclude":
            path = os.path.normpath(os.path.join(os.path.dirname(name), directive[2]))
            if not tree.exists(path):
                found.append(f"{where}: there is no {path}")
            elif not is_tested(path, tree):
                found.append(f"{where}: no test runs {path}")
        elif directive and directive[1] == "eval-rst":
            if not re.fullmatch(r"(\s*\.\. auto\w+:: \S+\n?|\s+:[\w-]+:.*\n?|\s*\n)*", block.text):
                found.append(f"{where}: more than the reference of a module")
        elif directive:
            if directive[1] not in NO_CODE:
                found.append(f"{where}: a block {{{directive[1]}}} is not one that is tested")
            elif directive[1] == "raw" and "file" not in block.options:
                found.append(f"{where}: what is raw comes from a file")
        elif block.kind == "cpp":
            examples = [file for file in tree.listed("examples") if file.endswith(".cpp")]
            if not any(without_opening_comment(tree.read(f"examples/{file}")) == block.text.strip()
                       for file in examples):
                found.append(f"{where}: this C++ is no file of examples/")
        elif block.kind == "console":
            for command in pages.commands(block):
                if not command.text:
                    found.append(f"{name}:{command.line}: output before the first command")
                elif not pages.words(command.text):
                    found.append(f"{name}:{command.line}: not a command: {command.text}")
                elif pages.is_about_the_tree(command.text):
                    if command.output and any(line.strip() for line in command.output):
                        found.append(f"{name}:{command.line}: output of what is not run")
                    if why := wrong_command(command.text, text, tree):
                        found.append(f"{name}:{command.line}: {why}")
        elif name in READ_BY and block.kind in READ_BY[name][1]:
            script = READ_BY[name][0]
            if not tree.exists(script) or f'"{name}"' not in tree.read(script):
                found.append(f"{where}: {script} does not read this page")
        elif block.kind == "toml":
            later = "\n".join(b.text for b in shown[at + 1:] if isinstance(b, pages.Block) and b.kind == "console")
            if not block.file:
                found.append(f"{where}: a configuration without a name")
            elif block.file not in later:
                found.append(f"{where}: no later command uses {block.file}")
        elif block.kind != "text":
            found.append(f"{where}: a block of kind '{block.kind}': nothing tests it")
    return found


def link_violations(name, text, tree):
    """Links of one page to files of the tree."""
    found = []
    inside = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            inside = not inside
        if inside:
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if not tree.exists(path):
                found.append(f"{name}:{number}: the link {target} leads nowhere")
            elif anchor and path.endswith(".md") and anchor not in anchors(tree.read(path)):
                found.append(f"{name}:{number}: there is no #{anchor} in {path}")
    return found


def anchors(text):
    """The anchors that headings make, as GitHub and MyST do it."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", text, re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-"))
    return found


def readme_violations(readme, example, tree):
    """What holds for README.md alone."""
    found = []
    block = re.search(r"```cpp\n(.*?)```", readme, re.S)
    if not block:
        return ["README.md has no C++ block"]
    code = without_opening_comment(example)
    if block.group(1).strip() != code:
        found.append("README.md: its first C++ block is not examples/pair.cpp")
    if len(code.splitlines()) > 25:
        found.append("examples/pair.cpp: more than 25 lines")
    for path in re.findall(r"`((?:examples|src|include|tests|benchmarks|docs)/[\w./-]+)`", readme):
        if not tree.exists(path):
            found.append(f"README.md names {path}, which is not there")
    for target in re.findall(r"\bmake (\w+)", readme):
        if not re.search(rf"^{target}:", tree.read("Makefile"), re.M):
            found.append(f"README.md names make {target}, which the Makefile does not know")
    return found


def violations(tree, names):
    found = readme_violations(tree.read("README.md"), tree.read("examples/pair.cpp"), tree)
    for name in names:
        text = tree.read(name)
        found += block_violations(name, text, tree) + link_violations(name, text, tree)
    return found


class Pretended(Tree):
    """A tree of given texts, for the self-check."""

    def __init__(self, **files):
        self.files = {"Makefile": "demo:\n", "CMakePresets.json": '{"configurePresets":[{"name":"dev"}]}',
                      "tests/CMakeLists.txt": "core\n", "examples/CMakeLists.txt": "CONFIGURE_DEPENDS *.cpp)", "examples/c/a.c": "", "examples/a.cpp": "// c\nint x;\n",
                      "tests/model/check.py": "--trail", ".ci/packages": "  demo) x ;;", "src/a.md": "# A `b` c\n", "tests/package/check.py": '"docs/package.md"'} | files

    def exists(self, name):
        return name in self.files or any(file.startswith(name + "/") for file in self.files)

    def read(self, name):
        return self.files[name]

    def listed(self, folder):
        return [name[len(folder) + 1:] for name in self.files if name.startswith(folder + "/")]


def self_check():
    tree = Pretended()
    good = "```cpp\nint x;\n```\n`src/a.md` make demo"
    assert readme_violations(good, "// c\nint x;\n", tree) == []
    assert readme_violations(good, "int y;\n", tree)
    assert readme_violations("", "int x;\n", tree)
    assert readme_violations(good.replace("a.md", "b.md"), "// c\nint x;\n", tree)
    assert readme_violations(good.replace("demo", "tea"), "// c\nint x;\n", tree)
    long = "\n".join(["int x;"] * 26)
    assert readme_violations(f"```cpp\n{long}\n```", long, tree)

    def wrong(page, name="docs/p.md"):
        return block_violations(name, page, tree)

    for page in ("```cpp\nint x;\n```", "```text\nanything\n```", "```console\n$ qkd004 x\nout\n$ qkd004 \\\n  y\n```",
                 "```console\n$ make demo\n$ ctest --preset dev -L core\n$ tests/model/check.py --trail\n```",
                 "```{literalinclude} ../examples/a.cpp\n:language: cpp\n```", "```{toctree}\na\n```",
                 "<!-- file: a.toml -->\n```toml\nx = 1\n```\n```console\n$ qkd004 serve --config a.toml\n```",
                 "```{eval-rst}\n.. autoclass:: a.B\n   :members:\n```", ":::{note}\nwords\n:::\n\nwords", "- a\n\n  more of a\n\n    still a", "```console\n$ E=build/dev/tests/model/x\n$ $E --trail\n```",
                 "```console\n$ .ci/packages demo\n$ python3 -m venv .venv && . .venv/bin/activate\n$ pip install .\n```"):
        assert wrong(page) == [], (page, wrong(page))
    for page in ("```cpp\nint y;\n```", "```\nx\n```", "```sh\nx\n```", "words\n\n    code", "- a\n\n      code", "```text\nx",
                 "```console\nout\n```", "```console\n$ make tea\n```", "```console\n$ make demo\nout\n```",
                 "```console\n$ cmake --preset tea\n```", "```console\n$ .ci/packages tea\n```", "```console\n$ pip install .\n```",
                 "```console\n$ ctest -L tea\n```",
                 "```console\n$ tests/model/check.py --tea\n```", "```console\n$ tests/tea.py\n```",
                 "```console\n$ qkd004 'unfinished\n```", "```console\n$ $E x\n```",
                 "```console\n$ cmake --build --preset dev --target example_tea\n```",
                 "```{literalinclude} ../examples/b.cpp\n```", "```{literalinclude} ../examples/c/a.c\n```", "```{literalinclude} ../src/a.md\n```",
                 "```{code-block} cpp\nint x;\n```", "```{raw} html\n<b>\n```", "```toml\nx = 1\n```",
                 "<!-- file: a.toml -->\n```toml\nx = 1\n```\n```console\n$ qkd004 serve --config b.toml\n```",
                 "```{eval-rst}\n.. code-block:: c\n\n   int x;\n```", ":::{note}\n```sh\nx\n```\n:::"):
        assert wrong(page), page

    marked = "<!-- run: x -->\n```sh\nx\n```"
    assert wrong(marked, "docs/package.md") == []
    assert wrong(marked) and wrong("```py\nx\n```", "docs/package.md")
    tree.files["tests/package/check.py"] = ""
    assert wrong(marked, "docs/package.md")

    def broken(page):
        return link_violations("docs/p.md", page, tree)

    assert broken("[a](../src/a.md) [b](https://example.org/x) [c](../src/a.md#a-b-c) `[d](e)`\n```text\n[f](g)\n```") == []
    for page in ("[a](a.md)", "[a](../src/a.md#b)", "[a](#b)"):
        assert link_violations("docs/p.md", page, Pretended(**{"docs/p.md": "# A\n"})), page


def main():
    if sys.argv[1:] == ["--self-check"]:
        self_check()
        return 0
    tree = Tree(sys.argv[1])
    found = violations(tree, pages.markdown_files(tree.root))
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
