"""Certificates made by openssl, for tests only."""

import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


class Authority:
    """Signs certificates for loopback names."""

    def __init__(self, folder, name="tests"):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.certificate = folder / "ca.crt"
        self.key = folder / "ca.key"
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", str(self.key), "-out", str(self.certificate),
        )

    def issue(self, name, serial, hosts=("localhost", "127.0.0.1", "s3.example.org")):
        """A certificate and its key, as paths."""
        key, request, certificate = (self.folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
        names = ",".join(f"IP:{host}" if host[0].isdigit() else f"DNS:{host}" for host in hosts)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", str(key), "-out", str(request),
        )
        openssl(
            "x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self.key),
            "-set_serial", str(serial), "-days", "2", "-extfile", str(extensions), "-out", str(certificate),
        )
        return certificate, key


def tls(certificate, key, more=""):
    """The table of the configuration; it comes behind all other keys of [s3]."""
    return f'[s3.tls]\ncertificate = "{certificate}"\nkey = "{key}"\nhandshake_timeout = "1s"\n{more}'
