"""An FTP server with TLS on both connections: PORT LIBRARY FOLDER CERTIFICATE KEY FIRST-DATA-PORT END."""
import sys

port, library, folder, certificate, key, first_data_port, end = sys.argv[1:]
sys.path.insert(0, library)
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import FTPServer

authorizer = DummyAuthorizer()
# Letters: enter, list, read, append, delete, rename, make folders, store, modes, times.
for user, may in [("alice", "elradfmwMT"), ("keeper", "elrafmw"), ("reader", "elr")]:
    authorizer.add_user(user, "open sesame", folder, perm=may)


class Handler(TLS_FTPHandler):
    authorizer = authorizer
    certfile = certificate
    keyfile = key
    tls_control_required = True
    tls_data_required = True
    banner = "ready"
    # None of its own choice: any port.
    passive_ports = range(int(first_data_port), int(end)) or None


server = FTPServer(("127.0.0.1", int(port)), Handler)
server.max_cons = 256
server.serve_forever(handle_exit=False)
