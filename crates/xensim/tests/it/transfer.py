"""Judges the export and import handlers with nothing but Python's standard library.

usage: transfer.py HTTP_URL HTTPS_URL USER PASSWORD VM_UUID

Downloads the machine over plain HTTP and over TLS, takes the archive apart with tarfile by the rules of XVA, and prints one
line per disk: "disk NAME SHA256". Then uploads it again, and prints "imported STATUS".
"""

import base64
import hashlib
import http.client
import io
import ssl
import sys
import tarfile
import urllib.parse
import xmlrpc.client

CHUNK = 1 << 20


def connect(url):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(parts.netloc, context=context)
    return http.client.HTTPConnection(parts.netloc)


def download(url, user, password, uuid):
    connection = connect(url)
    secret = base64.b64encode(f"{user}:{password}".encode()).decode()
    connection.request("GET", f"/export?uuid={uuid}", headers={"Authorization": f"Basic {secret}"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    assert answer.version == 10, answer.version
    assert answer.getheader("Content-Length") is None
    return answer.read()


def take_apart(archive):
    assert archive.endswith(bytes(1024)), "the end marker is missing"
    tar = tarfile.open(fileobj=io.BytesIO(archive))
    members = tar.getmembers()
    assert members[0].name == "ova.xml"
    (ova,), _ = xmlrpc.client.loads(
        b"<params><param>" + tar.extractfile(members[0]).read() + b"</param></params>"
    )
    records = {o["id"]: (o["class"], o["snapshot"]) for o in ova["objects"]}
    sizes = {i: int(r["virtual_size"]) for i, (c, r) in records.items() if c == "VDI"}
    disks = {}
    last = {}
    for member in members[1:]:
        disk, number = member.name.split("/")
        if number.endswith(".xxhash"):
            assert member.size == 16
            continue
        number = int(number)
        assert number > last.get(disk, -1), member.name
        last[disk] = number
        data = tar.extractfile(member).read()
        content = disks.setdefault(disk, bytearray(sizes[disk]))
        content[number * CHUNK : number * CHUNK + len(data)] = data
    assert list(disks) == sorted(disks), "disks stand in the order of their names"
    for disk, content in disks.items():
        assert len(content) == sizes[disk]
        assert last[disk] == (len(content) - 1) // CHUNK, "the last chunk is missing"
    return {records[d][1]["name_label"]: hashlib.sha256(c).hexdigest() for d, c in disks.items()}


def upload(url, user, password, archive):
    pool = xmlrpc.client.ServerProxy(url)
    session = pool.session.login_with_password(user, password, "1.0", "transfer.py")["Value"]
    task = pool.task.create(session, "import", "")["Value"]
    connection = connect(url)
    connection.request("PUT", f"/import?session_id={session}&task_id={task}", body=archive)
    assert connection.getresponse().status == 200
    status = pool.task.get_status(session, task)["Value"]
    while status == "pending":
        status = pool.task.get_status(session, task)["Value"]
    result = pool.task.get_result(session, task)["Value"]
    (vms,), _ = xmlrpc.client.loads(f"<params><param>{result}</param></params>")
    assert len(vms) == 1 and vms[0].startswith("OpaqueRef:"), result
    pool.session.logout(session)
    return status


def main():
    http_url, https_url, user, password, uuid = sys.argv[1:]
    archive = download(http_url, user, password, uuid)
    disks = take_apart(archive)
    assert take_apart(download(https_url, user, password, uuid)) == disks
    for name, digest in disks.items():
        print("disk", name, digest)
    print("imported", upload(http_url, user, password, archive))


main()
