# What the stand-ins have in common: HTTP/1.1 with JSON, ranges, and a file that asks for something unusual.
#
#   python3 -I server.py PORT DATA-FOLDER
#
# The control file is JSON beside the data folder; a number in it counts how often something happens.
import http.server
import json
import os
import re
import sys
import threading
import urllib.parse

port, data = int(sys.argv[1]), os.path.abspath(sys.argv[2])
control_file = os.path.join(os.path.dirname(data), 'control')
lock = threading.RLock()
base = 'http://127.0.0.1:%d' % port
here = threading.local()


class Refused(Exception):
    def __init__(self, status, body, headers=()):
        self.status, self.body, self.headers = status, body, dict(headers)


def control():
    try:
        with open(control_file) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def spend(name):
    # Whether something that happens a few times happens this time.
    with lock:
        wanted = control()
        if wanted.get(name, 0) <= 0:
            return False
        wanted[name] -= 1
        with open(control_file + '.new', 'w') as file:
            json.dump(wanted, file)
        os.replace(control_file + '.new', control_file)
        return True


def ranged(headers, whole, more):
    # The answer with the part of `whole` that is asked for.
    asked = re.fullmatch(r'bytes=(\d+)-(\d*)', headers.get('Range') or '')
    if not asked:
        return 200, more, whole
    first, last = int(asked[1]), min(int(asked[2] or len(whole)), len(whole) - 1)
    if len(whole) <= first:
        raise Refused(416, 'Range Not Satisfiable', {'Content-Range': 'bytes */%d' % len(whole)})
    return 206, {**more, 'Content-Range': 'bytes %d-%d/%d' % (first, last, len(whole))}, whole[first:last + 1]


class Door(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *words):
        pass

    def body(self):
        if 'chunked' in (self.headers.get('Transfer-Encoding') or ''):
            parts = []
            while True:
                length = int(self.rfile.readline().split(b';')[0], 16)
                parts.append(self.rfile.read(length))
                self.rfile.readline()
                if not length:
                    return b''.join(parts)
        length = int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def handle_one(self):
        body = self.body()
        if body is None:
            self.close_connection = True
            return
        path, _, query = self.path.partition('?')
        # Whoever came through something in between is sent that way again.
        here.base = 'http://' + (self.headers.get('Host') or base[len('http://'):])
        try:
            status, headers, answer = answer_to(self, path, dict(urllib.parse.parse_qsl(query, keep_blank_values=True)), body)
        except Refused as refused:
            status, headers, answer = refused.status, dict(refused.headers), refused.body
        if not isinstance(answer, bytes):
            headers.setdefault('Content-Type', 'text/plain' if isinstance(answer, str) else 'application/json')
            answer = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in (204, 308):
            self.send_header('Content-Length', str(len(answer)))
        elif status == 308:
            self.send_header('Content-Length', '0')
        self.end_headers()
        if self.command != 'HEAD' and status not in (204, 308):
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = handle_one


def serve():
    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128
    Server(('127.0.0.1', port), Door).serve_forever()
