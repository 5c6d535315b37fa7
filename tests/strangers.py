"""Distributions of others that bear names of ours, as pip installs them."""

import zipfile


def stranger(folder, distribution, version, *modules):
    """Write a wheel with these modules, each of which says whose it is; give its path."""
    stem = f"{distribution.replace('-', '_')}-{version}"
    told = {f"{name}/__init__.py": f"THEIRS = {distribution!r}\n" for name in modules}
    told[f"{stem}.dist-info/METADATA"] = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    told[f"{stem}.dist-info/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    told[f"{stem}.dist-info/RECORD"] = "".join(f"{name},,\n" for name in [*told, f"{stem}.dist-info/RECORD"])
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in told.items():
            archive.writestr(name, text)
    return path
