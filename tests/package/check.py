#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Uses the package as others do: in projects of their own outside of this tree, from what `cmake --install` or the
Debian packages put in a new place, by the words of docs/package.md.

    check.py <test> --source <root of the tree> --build <a build that is complete> [--cxx <compiler>]...
    check.py list

Every test makes its own folder, and removes it. Exit status 77: cannot be done on this machine, and why.
"""
import argparse
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77


class Failed(Exception):
    pass


def run(command, cwd=None, fails=False, **variables):
    """Runs a command in the C locale; returns what it wrote. It must succeed, or with fails=True must not."""
    environment = {**os.environ, "LC_ALL": "C", **variables}
    for unwanted in ("DESTDIR", "CMAKE_PREFIX_PATH"):
        if unwanted not in variables:
            environment.pop(unwanted, None)
    done = subprocess.run(command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, errors="replace")
    if (done.returncode != 0) != fails:
        expected = "did not fail" if fails else f"failed with {done.returncode}"
        raise Failed(f"{shlex.join(command)}\n  {expected}, and wrote:\n{done.stdout}")
    return done.stdout


def expect(condition, message):
    if not condition:
        raise Failed(message)


def snippets(page):
    """The files and commands of the page: name -> text. One without a name is an error; those that build the tree, as
    `console`, are looked at by tests/readme.py."""
    found = {}
    for mark, kind, text in re.findall(r"(?:<!-- file: (\S+) -->\n)?```(\w+)\n(.*?)```\n", page, re.S):
        if kind == "console":
            continue
        if not mark or mark in found:
            raise Failed(f"a block of the page has no name, or one that is taken: '{mark}'\n{text}")
        found[mark.removesuffix(".sh")] = text
    return found


class Place:
    """A folder for one test, and what the command line said."""

    def __init__(self, arguments, folder):
        self.source, self.build, self.folder = arguments.source, arguments.build, folder
        self.compilers = arguments.cxx or ["c++"]
        self.page = snippets(self.read("docs/package.md"))

    def read(self, name):
        with open(os.path.join(self.source, name), encoding="utf-8") as file:
            return file.read()

    def version(self):
        return re.search(r'VERSION_STRING "(.*)"', self.read("include/qkd004/version.hpp")).group(1)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def install(self, name):
        """Installs to one prefix and moves all of it to another, which is returned."""
        first = self.path("first")
        run(["cmake", "--install", self.build, "--prefix", first])
        prefix = self.path(name)
        os.rename(first, prefix)
        return prefix

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def project(self, name, main, lists=None):
        """Makes the project of the page with that name, of one source file of this tree; returns its folder."""
        lists = lists or self.page[f"{name}/CMakeLists.txt"]
        self.write(f"{name}/CMakeLists.txt", lists)
        shutil.copy(os.path.join(self.source, main), self.path(name, "main" + os.path.splitext(main)[1]))
        return self.path(name)

    def configure(self, project, *options, build="build", fails=False):
        return run(["cmake", "-S", project, "-B", os.path.join(project, build), "-G", "Ninja", *options], fails=fails)

    def built(self, project, *options, build="build"):
        """Configures, builds and runs a project; returns what the program wrote."""
        self.configure(project, *options, build=build)
        run(["cmake", "--build", os.path.join(project, build), "--target", "consumer"])
        return run([os.path.join(project, build, "consumer")])


def here(prefix):
    return f"-DCMAKE_PREFIX_PATH={prefix}"


# --- Tests ------------------------------------------------------------------------------------------------


def test_find_package(place):
    """Each component from a moved prefix, with each compiler; the C interface in a project without C++."""
    prefix = place.install("moved")
    for name, main in (("core", "examples/pair.cpp"), ("net", "examples/tcp.cpp")):
        project = place.project(name, main)
        for number, compiler in enumerate(place.compilers):
            wrote = place.built(project, here(prefix), f"-DCMAKE_CXX_COMPILER={compiler}", build=f"build{number}")
            expect("equal at both ends" in wrote, wrote)
    wrote = place.built(place.project("capi", "tests/package/version.c"), here(prefix))
    expect(wrote.strip() == place.version(), wrote)


def test_prefix_with_a_space(place):
    prefix = place.install("a prefix")
    wrote = place.built(place.project("core", "tests/package/version.cpp"), here(prefix))
    expect(wrote.strip() == place.version(), wrote)
    wrote = place.built(place.project("capi", "tests/package/version.c"), here(prefix))
    expect(wrote.strip() == place.version(), wrote)
    flags = pkg_config(prefix, "--cflags", "--libs", "qkd004")
    program = place.path("version")
    run(["cc", os.path.join(place.source, "tests/package/version.c"), *flags, "-o", program])
    expect(run([program], LD_LIBRARY_PATH=library_folder(prefix)).strip() == place.version(), "another version")


def test_find_package_refuses(place):
    """What cannot be had is said: a component, a version, another Asio. What is optional is no error."""
    prefix = place.install("moved")

    def find(words, *options, fails=True):
        lists = f"cmake_minimum_required(VERSION 3.23)\nproject(consumer CXX)\n{words}\n"
        project = place.path("refused")
        place.write("refused/CMakeLists.txt", lists)
        shutil.rmtree(os.path.join(project, "build"), ignore_errors=True)
        # CMake breaks lines where it likes.
        return " ".join(place.configure(project, here(prefix), *options, fails=fails).split())

    major, minor, _ = place.version().split(".")
    wrote = find("find_package(qkd004 CONFIG REQUIRED COMPONENTS core daemon)")
    expect("daemon: there is core, net and capi" in wrote, wrote)
    for other in (f"{major}.{int(minor) + 1}", f"{int(major) + 1}.0"):
        wrote = find(f"find_package(qkd004 {other} CONFIG REQUIRED)")
        expect(f'requested version "{other}"' in wrote, wrote)
    other_asio(place)
    wrote = find("find_package(qkd004 CONFIG REQUIRED COMPONENTS net)", f"-DAsio_ROOT={place.path('asio')}")
    expect("which it was compiled with; found: '1.99.9'" in wrote, wrote)
    find("""find_package(qkd004 CONFIG REQUIRED COMPONENTS core OPTIONAL_COMPONENTS net)
            if(qkd004_net_FOUND OR TARGET qkd004::qkd004 OR NOT TARGET qkd004::core)
              message(FATAL_ERROR "net was found")
            endif()""", f"-DAsio_ROOT={place.path('asio')}", fails=False)
    find("""find_package(qkd004 CONFIG REQUIRED)
            find_package(qkd004 CONFIG REQUIRED COMPONENTS net capi)
            if(NOT TARGET qkd004::core OR NOT TARGET qkd004::qkd004 OR NOT TARGET qkd004::capi)
              message(FATAL_ERROR "a target is missing")
            endif()""", fails=False)


def other_asio(place):
    """A copy of the system's Asio that calls itself another version, in the folder asio."""
    include = re.search(r"^Asio_INCLUDE_DIR:PATH=(.*)$", cache(place), re.M).group(1)
    if not os.path.isdir(place.path("asio")):
        shutil.copytree(os.path.join(include, "asio"), place.path("asio/include/asio"))
        shutil.copy(os.path.join(include, "asio.hpp"), place.path("asio/include"))
        header = place.path("asio/include/asio/version.hpp")
        with open(header, encoding="utf-8") as file:
            text = re.sub(r"(#define ASIO_VERSION) .*", r"\1 109909", file.read())
        place.write(header, text)
    return place.path("asio/include")


def cache(place):
    with open(os.path.join(place.build, "CMakeCache.txt"), encoding="utf-8") as file:
        return file.read()


def test_other_asio_fails_to_link(place):
    """Also where only net/connect.hpp is used, which shows nothing of Asio but its version."""
    prefix = place.install("moved")
    source = place.write("main.cpp", """
#include <qkd004/net/connect.hpp>
int main() {
  const qkd004::secret_arena arena;
  return qkd004::net::connect("qkd004://127.0.0.1:1", arena) ? 1 : 0;
}
""")
    command = ["c++", "-std=c++20", source, *pkg_config(prefix, "--cflags", "--libs", "qkd004-cxx"),
               "-o", place.path("main")]
    run(command)
    run([place.path("main")])
    wrote = run(command + ["-I", other_asio(place)], fails=True)
    expect(re.search(r"undefined reference to `qkd004::net::asio_109909::connect", wrote), wrote)


def test_net_names_have_asio_version(place):
    """Whatever the headers in include/qkd004/net/ declare and the library compiles has Asio's version in its name."""
    declared = set()
    for header in glob.glob(os.path.join(place.source, "include/qkd004/net/*.hpp")):
        with open(header, encoding="utf-8") as file:
            declared |= set(re.findall(r"^(?:class|struct) (\w+) \{|^\[\[nodiscard\]\] .*?(\w+)\(", file.read(), re.M))
    names = {name for pair in declared for name in pair if name}
    expect({"site", "connect"} <= names, f"the headers declare {names}")
    library = glob.glob(os.path.join(place.build, "libqkd004-cxx.a"))
    expect(len(library) == 1, f"{place.build} has no libqkd004-cxx.a")
    wrote = run(["nm", "--demangle", "--defined-only", library[0]])
    tagged = set(re.findall(r" T qkd004::net::asio_\d+::(\w+)[:(]", wrote))
    expect({"site", "connect"} <= tagged, f"with Asio's version in their names: {tagged}")
    plain = set(re.findall(r" T qkd004::net::(\w+)[:(]", wrote)) & names
    expect(not plain, f"without Asio's version in their names: {plain}")


def pkg_config(prefix, *words):
    path = os.path.join(library_folder(prefix), "pkgconfig")
    return shlex.split(run(["pkg-config", *words], PKG_CONFIG_PATH=path))


def library_folder(prefix):
    found = glob.glob(os.path.join(glob.escape(prefix), "**", "libqkd004.so"), recursive=True)
    expect(len(found) == 1, f"{prefix} has {found}")
    return os.path.dirname(found[0])


def sources_of_the_page(place):
    for name in ("examples/pair.cpp", "examples/tcp.cpp", "tests/package/version.c"):
        shutil.copy(os.path.join(place.source, name), place.folder)


def test_pkg_config(place):
    """The commands of the page, with a prefix that was moved."""
    prefix = place.install("moved")
    library = library_folder(prefix)
    sources_of_the_page(place)
    for name in ("qkd004", "qkd004-core", "qkd004-cxx"):
        run(["pkg-config", "--validate", name], PKG_CONFIG_PATH=os.path.join(library, "pkgconfig"))
        version = run(["pkg-config", "--modversion", name], PKG_CONFIG_PATH=os.path.join(library, "pkgconfig"))
        expect(version.strip() == place.version(), f"{name} is {version}")
    run(["sh", "-e", "-c", place.page["pkg-config"]], cwd=place.folder,
        PKG_CONFIG_PATH=os.path.join(library, "pkgconfig"))
    for program in ("pair", "tcp"):
        expect("equal at both ends" in run([place.path(program)]), program)
    expect(run([place.path("version")], LD_LIBRARY_PATH=library).strip() == place.version(), "another version")


# One line of a program in each of the shapes: a call that needs a key manager, of a stream that there is not.
COMPAT = {
    "openssl-qkd": """#include <qkd_api.h>
int main(void) { QKD_key_handle_t h; QKD_key_handle_set_random(&h); return QKD_close(&h) != QKD_RESULT_CONNECTION_FAILED; }
""",
    "hackathon": """#include <qkd_api.h>
int main(void) { key_handle_t h = "nobody's"; return QKD_CLOSE(h) != NO_QKD_CONNECTION; }
""",
    "qursa": """#include <etsi004/api.h>
int main(void) { unsigned char id[QKD_KSID_SIZE] = {1}; uint32_t s; return CLOSE(id, &s) != QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY; }
""",
}


def test_compat(place):
    """The libraries for programs that are there already, by pkg-config and by CMake, from a moved prefix."""
    prefix = place.install("moved")
    library = library_folder(prefix)
    found = {os.path.basename(path)[len("qkd004-"):-len(".pc")] for path in glob.glob(f"{library}/pkgconfig/qkd004-*.pc")}
    expect(found - {"core", "cxx"} == set(COMPAT), f"pkg-config has {found}")
    # They ask for no environment: keys are simulated, and a line says so.
    simulated = "QKD004_URI is not set: keys are simulated"
    lists = "cmake_minimum_required(VERSION 3.23)\nproject(consumer C)\nfind_package(qkd004 CONFIG REQUIRED COMPONENTS capi)\n"
    for family, program in COMPAT.items():
        source, target = place.write(f"compat/{family}.c", program), family.replace("-", "_")
        run(["cc", "-std=c11", source, *pkg_config(prefix, "--cflags", "--libs", f"qkd004-{family}"), "-o",
             place.path(family)])
        expect(simulated in run([place.path(family)], LD_LIBRARY_PATH=library), family)
        lists += f"add_executable({target} {family}.c)\ntarget_link_libraries({target} PRIVATE qkd004::compat_{target})\n"
    place.write("compat/CMakeLists.txt", lists)
    place.configure(place.path("compat"), here(prefix))
    run(["cmake", "--build", place.path("compat/build")])
    for family in COMPAT:
        expect(simulated in run([place.path("compat/build", family.replace("-", "_"))]), family)


def test_linker_names(place):
    """-lqkd004 is the C interface, never the C++ library; and it asks the loader for libqkd004.so.0."""
    prefix = place.install("moved")
    library = library_folder(prefix)
    expect(not os.path.exists(os.path.join(library, "libqkd004.a")), "libqkd004.a would be taken for -lqkd004 -static")
    wrote = run(["readelf", "--dynamic", os.path.join(library, "libqkd004.so")])
    expect("Library soname: [libqkd004.so.0]" in wrote, wrote)
    needed = re.findall(r"NEEDED.*\[(.*)\]", wrote)
    allowed = r"(libssl|libcrypto|libstdc\+\+|libm|libgcc_s|libc|ld-linux.*|libsimdjson|libtomlplusplus)\.so\..*"
    expect(all(re.fullmatch(allowed, name) for name in needed), f"needs {needed}")


def test_destdir(place):
    """Nothing is written beside DESTDIR, and no text file in it knows where it was built."""
    root = place.path("root")
    run(["cmake", "--install", place.build, "--prefix", "/usr/no such prefix"], DESTDIR=root)
    expect(not os.path.exists("/usr/no such prefix"), "files beside DESTDIR")
    installed = set()
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            installed.add(os.path.relpath(path, os.path.join(root, "usr/no such prefix")))
            with open(path, "rb") as file:
                text = file.read()
            if b"\0" not in text:
                for known in (place.source, place.build, root, "no such prefix"):
                    expect(known.encode() not in text, f"{path} names {known}")
    for folder in ("include/qkd004", "include/qkd004/net"):
        for name in os.listdir(os.path.join(place.source, folder)):
            if name.endswith((".hpp", ".ipp")):
                expect(f"{folder}/{name}" in installed, f"{folder}/{name} is not installed")
    for name in ("include/qkd004.h", "bin/qkd004", "share/doc/qkd004/LICENSE", "share/doc/qkd004/examples/site-a.toml",
                 "lib/systemd/system/qkd004@.service", "lib/systemd/system/qkd004@.socket", "lib/sysusers.d/qkd004.conf"):
        expect(name in installed, f"{name} is not installed")
    expect(all("secret" not in os.path.basename(name) or name.startswith("include/") for name in installed),
           "a secret is installed")


def test_subdirectory(place):
    """In another project's tree: its flags and its rules stay its own."""
    project = place.project("subdirectory", "examples/pair.cpp")
    os.symlink(place.source, os.path.join(project, "qkd004"))
    wrote = place.built(project)
    expect("equal at both ends" in wrote, wrote)
    expect_no_asio(project)
    run(["cmake", "--install", os.path.join(project, "build"), "--prefix", place.path("prefix")])
    expect(not os.path.exists(place.path("prefix")), "the other project's install rules install qkd004")


def expect_no_asio(project):
    """With QKD004_NET off no package is looked for: who wants the headers alone needs none."""
    with open(os.path.join(project, "build/CMakeCache.txt"), encoding="utf-8") as file:
        expect("Asio_INCLUDE_DIR" not in file.read(), "Asio is looked for")


def test_subdirectory_net(place):
    """With the C++ library: its targets are there, and warnings, the program and tests are not."""
    lists = place.page["subdirectory/CMakeLists.txt"]
    net = re.sub(r"set\(QKD004_NET OFF\).*\n", "", lists).replace("qkd004::core", "qkd004::qkd004")
    expect(net != lists, "the page's project has changed")
    project = place.project("subdirectory", "examples/tcp.cpp", net)
    os.symlink(place.source, os.path.join(project, "qkd004"))
    place.configure(project, "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    with open(os.path.join(project, "build/compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    ours = [command for command in commands if "/qkd004/" in command["file"]]
    expect(any(command["file"].endswith("src/net/connect.cpp") for command in ours), "no library")
    expect(not any("/cli/" in command["file"] or "/capi/" in command["file"] for command in ours), "a door")
    expect(not any("-Werror" in command["command"] for command in commands), "warnings are errors")


def test_fetchcontent(place):
    """By FetchContent, from a repository made of the files of this tree."""
    if not shutil.which("git"):
        print("no git")
        sys.exit(SKIPPED)
    repository = place.path("repository")
    for name in ("CMakeLists.txt", "cmake", "include", "LICENSE"):
        copy = shutil.copytree if os.path.isdir(os.path.join(place.source, name)) else shutil.copy
        os.makedirs(repository, exist_ok=True)
        copy(os.path.join(place.source, name), os.path.join(repository, name))
    git = ["git", "-C", repository, "-c", "user.name=test", "-c", "user.email=test@localhost",
           "-c", "commit.gpgsign=false"]
    run(["git", "init", "--quiet", repository])
    run([*git, "add", "--all"])
    run([*git, "commit", "--quiet", "--message", "for a test"])
    commit = run([*git, "rev-parse", "HEAD"]).strip()
    project = place.project("fetchcontent", "tests/package/version.cpp")
    wrote = place.built(project, f"-DQKD004_REPOSITORY=file://{repository}", f"-DQKD004_COMMIT={commit}")
    expect_no_asio(project)
    expect(wrote.strip() == place.version(), wrote)


def test_include_path(place):
    """The page's command, with each compiler as c++."""
    sources_of_the_page(place)
    os.rename(place.path("pair.cpp"), place.path("main.cpp"))
    for compiler in place.compilers:
        command = re.sub(r"^c\+\+ ", compiler + " ", place.page["include-path"])
        run(["sh", "-e", "-c", command], cwd=place.folder, QKD004=place.source)
        expect("equal at both ends" in run([place.path("main")]), compiler)


def test_deb(place):
    """The packages of this build, installed beside the list of what this machine has: their dependencies are in it. A
    program is built from them, and the one in them runs. `.ci/deb-in-a-clean-root` does it where nothing else is."""
    for tool in ("dpkg", "dpkg-shlibdeps", "fakeroot"):
        if not shutil.which(tool):
            print(f"no {tool}")
            sys.exit(SKIPPED)
    debs = place.path("debs")
    run(["cpack", "--config", os.path.join(place.build, "CPackConfig.cmake"), "-B", debs])
    shutil.rmtree(os.path.join(debs, "_CPack_Packages"))
    packages = {re.match(r"[^_]*", name).group(): os.path.join(debs, name) for name in os.listdir(debs)}
    expect(set(packages) == {"libqkd004-0", "libqkd004-dev", "qkd004-tools"}, f"{set(packages)}")
    root = place.path("root")
    os.makedirs(os.path.join(root, "etc"))
    os.makedirs(os.path.join(root, "var/lib/dpkg/updates"))
    os.makedirs(os.path.join(root, "var/lib/dpkg/info"))
    shutil.copy("/var/lib/dpkg/status", os.path.join(root, "var/lib/dpkg/status"))
    dpkg = ["fakeroot", "dpkg", f"--root={root}", "--force-not-root", "--force-script-chrootless",
            f"--log={place.path('log')}"]
    run([*dpkg, "--unpack", packages["libqkd004-dev"]])
    wrote = run([*dpkg, "--configure", "libqkd004-dev"], fails=True)
    expect("depends on libqkd004-0" in wrote, wrote)
    run([*dpkg, "--install", packages["libqkd004-0"], packages["libqkd004-dev"], packages["qkd004-tools"]])

    if shutil.which("systemd-sysusers"):
        with open(os.path.join(root, "etc/passwd"), encoding="utf-8") as file:
            expect(re.search(r"^qkd004:.*:/var/lib/qkd004:/usr/sbin/nologin$", file.read(), re.M), "no user qkd004")
    expect(not os.path.exists(os.path.join(root, "etc/systemd")), "something is enabled")
    prefix = os.path.join(root, "usr")
    expect("serve" in run([os.path.join(prefix, "bin/qkd004"), "--help"]), "no help")
    wrote = run([os.path.join(prefix, "bin/qkd004"), "demo", "--rate", "0", "--keys", "20"])
    expect("equal" in wrote, wrote)
    wrote = place.built(place.project("capi", "tests/package/version.c"), here(prefix))
    expect(wrote.strip() == place.version(), wrote)
    for name in packages:
        with open(os.path.join(prefix, "share/doc", name, "copyright"), encoding="utf-8") as file:
            expect("Apache-2.0" in file.read(), f"{name} has no licence")
        expect(os.path.exists(os.path.join(prefix, "share/doc", name, "changelog.Debian.gz")), f"{name}: no changelog")
    for name in glob.glob(os.path.join(prefix, "share/man/man1/*")):
        expect(name.endswith("/qkd004.1.gz"), name)
    run([*dpkg, "--purge", *packages])
    left = [name for _, _, names in os.walk(prefix) for name in names]
    expect(not left, f"after purge there are still {left}")


def test_service(place):
    """The units: systemd finds no fault with them, and how little they may do is measured; each unsafe line would be seen."""
    if not shutil.which("systemd-analyze"):
        print("no systemd-analyze")
        sys.exit(SKIPPED)
    prefix = place.install("service")
    units = os.path.join(prefix, "lib/systemd/system")
    text = {}
    for name in ("qkd004@.service", "qkd004@.socket"):
        with open(os.path.join(units, name), encoding="utf-8") as file:
            text[name] = file.read()
    # an instance, of the program as it is installed here
    service = text["qkd004@.service"].replace("ExecStart=qkd004 ", f"ExecStart={prefix}/bin/qkd004 ")
    expect(service != text["qkd004@.service"], "ExecStart is another")
    files = {"qkd004@site.service": service, "qkd004@site.socket": text["qkd004@.socket"]}
    for name, content in files.items():
        with open(place.path(name), "w", encoding="utf-8") as file:
            file.write(content)
    wrote = run(["systemd-analyze", "verify", "--man=no", *(place.path(name) for name in files)])
    expect(not wrote.strip(), wrote)
    security = ["systemd-analyze", "security", "--offline=yes", "--no-pager"]
    run([*security, "--threshold=15", place.path("qkd004@site.service")])
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "MemoryDenyWriteExecute=yes",
                 "SystemCallFilter=@system-service", "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "PrivateTmp=yes",
                 "ProtectHome=yes", "LockPersonality=yes", "LimitCORE=0", "LimitMEMLOCK=256M", "Restart=on-failure",
                 "WatchdogSec=30", "Type=notify", "User=qkd004"):
        expect(f"\n{line}\n" in service, f"no line {line}")
    with open(place.path("qkd004@weak.service"), "w", encoding="utf-8") as file:
        file.write(re.sub(r"\n(ProtectSystem|CapabilityBoundingSet)=.*", "", service))
    run([*security, "--threshold=15", place.path("qkd004@weak.service")], fails=True)
    with open(os.path.join(prefix, "lib/sysusers.d/qkd004.conf"), encoding="utf-8") as file:
        expect("\nu qkd004 - " in file.read(), "no user")
    page = place.read("docs/service.md")
    for name, block in re.findall(r"<!-- file: (\S+) -->\n```ini\n(.*?)```", page, re.S):
        name = name.replace("@.", "@site.") if name.endswith(".socket") else f"qkd004@site.service.d/{name}"
        place.write(name, block)
        units = {place.path("qkd004@site.service"), place.path(name if name.endswith(".socket") else "qkd004@site.socket")}
        wrote = run(["systemd-analyze", "verify", "--man=no", *units])
        expect(not wrote.strip(), wrote)


# What CMakeLists.txt looks for, and its name with vcpkg and with Conan. Threads is the system's; the others that are not
# here are for our own tests and benchmarks.
PACKAGES = {"Asio": ("asio", "asio"), "OpenSSL": ("openssl", "openssl"), "fmt": ("fmt", "fmt"),
            "simdjson": ("simdjson", "simdjson"), "Boost": ("boost-beast", "boost"), "CLI11": ("cli11", "cli11"),
            "tomlplusplus": ("tomlplusplus", "tomlplusplus")}


def test_manifests(place):
    """vcpkg.json and conanfile.py: well formed, of this version, and with what CMakeLists.txt looks for and nothing else."""
    looked_for = set()
    for name in ("CMakeLists.txt", "capi/CMakeLists.txt"):
        looked_for |= set(re.findall(r"^ *find_package\((\w+)", place.read(name), re.M)) - {"Threads", "Python"}
    looked_for.discard("pybind11")  # pyproject.toml has it
    expect(looked_for == set(PACKAGES), f"CMakeLists.txt looks for {looked_for}")

    manifest = json.loads(place.read("vcpkg.json"))
    fields = {"name", "version-semver", "description", "license", "supports", "dependencies", "features"}
    expect(set(manifest) == fields, f"vcpkg.json has {set(manifest)}")
    expect(manifest["version-semver"] == place.version(), "vcpkg.json is of another version")
    ports = set(manifest["dependencies"])
    for name, feature in manifest["features"].items():
        expect(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name), f"vcpkg knows no feature {name}")
        expect(set(feature) == {"description", "dependencies"}, f"the feature {name} has {set(feature)}")
        option = f"QKD004_{name.upper()}"
        expect(option in feature["description"] and f"option({option} " in place.read("CMakeLists.txt"),
               f"the feature {name} does not say {option}, or there is no such option")
        ports |= set(feature["dependencies"])
    wanted = {port for port, _ in PACKAGES.values()} | {"doctest"}
    expect(ports == wanted, f"vcpkg.json wants {ports}, CMakeLists.txt {wanted}")

    recipe = place.read("conanfile.py")
    compile(recipe, "conanfile.py", "exec")
    required = set(re.findall(r'self\.requires\("([\w+-]+)/\[[^\]]+\]"', recipe))
    wanted = {name for _, name in PACKAGES.values()}
    expect(required == wanted, f"conanfile.py wants {required}, CMakeLists.txt {wanted}")
    for name in re.search(r"exports_sources = (.*)", recipe).group(1).split(", "):
        path = name.strip('"').removesuffix("/*")
        expect(os.path.exists(os.path.join(place.source, path)), f"conanfile.py exports {path}, which there is not")


def test_page(place):
    """Every block of the page is used by a test here; and the table of options is that of CMakeLists.txt."""
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    text += place.read(".ci/deb-in-a-clean-root")
    for name in place.page:
        key = name.split("/")[0]
        expect(re.search(rf'page\["{key}|project\("{key}"|\("{key}", "examples', text), f"no test uses {name}")
    page, lists = place.read("docs/package.md"), place.read("CMakeLists.txt")
    told = dict(re.findall(r"^\| `(QKD004_\w+)` \| (on|off) \|", page, re.M))
    there = {name: "on" if value in ("ON", "${PROJECT_IS_TOP_LEVEL}") else "off"
             for name, value in re.findall(r'^option\((QKD004_\w+) ".*" (\S+)\)', lists, re.M)}
    expect(told == there, f"the page says {told}, CMakeLists.txt {there}")
    known = set(re.findall(r'"name": "(\w+)"', place.read("CMakePresets.json")))
    for preset in re.findall(r"--preset (\w+)", page):
        expect(preset in known, f"the page names the preset {preset}, which there is not")


TESTS = {name[len("test_"):]: function for name, function in list(globals().items()) if name.startswith("test_")}


def main():
    if sys.argv[1:] == ["list"]:
        print("\n".join(TESTS))
        return 0
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("test", choices=TESTS)
    parser.add_argument("--source", required=True, type=os.path.abspath)
    parser.add_argument("--build", required=True, type=os.path.abspath)
    parser.add_argument("--cxx", action="append")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qkd004-package-") as folder:
        try:
            TESTS[arguments.test](Place(arguments, folder))
        except Failed as failure:
            print(failure)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
