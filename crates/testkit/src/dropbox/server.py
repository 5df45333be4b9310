# A stand-in for Dropbox, of which no package registry has a server: the routes that a backup needs, as the official
# documentation of its HTTP interface (version 2) describes them, strict about what clients send. Dropbox's own client
# library is run against it in the tests.
#
#   python3 server.py PORT DATA-FOLDER [CERTIFICATE KEY]
#
# Files are kept as files below DATA-FOLDER. What is unusual is asked for by a JSON file `control` beside that folder:
# {"page": entries of a page, "expired": tokens given so far have ended, "revoked": no more tokens, "quota": bytes,
#  "read_only": true, "busy": requests to refuse with 429, "reset": listings to break off, "gone": path to report as deleted}
import hashlib
import http.server
import json
import os
import re
import shutil
import ssl
import sys
import threading
import urllib.parse

APP_KEY, APP_SECRET, REFRESH_TOKEN = 'test-app-key', 'test-app-secret', 'test-refresh-token'
PAGE, SINGLE_UPLOAD_BYTES, BLOCK_BYTES = 2000, 150 * 1000 * 1000, 4 << 20
port, data = int(sys.argv[1]), os.path.abspath(sys.argv[2])
scratch, control_file = data + '-scratch', os.path.join(os.path.dirname(data), 'control')
os.makedirs(scratch, exist_ok=True)
lock = threading.RLock()
tokens, cursors, sessions = {}, {}, {}


class Refused(Exception):
    def __init__(self, status, body, headers=()):
        self.status, self.body, self.headers = status, body, dict(headers)


def error(*tags, inner='', **more):
    # ('path', 'not_found') as Dropbox writes it; `inner` names the field that holds the second tag.
    value = {'.tag': tags[-1]}
    for tag in reversed(tags[:-1]):
        value = {'.tag': tag, (inner if tag == tags[0] and inner else tag): value}
    if inner == 'reason':
        more['upload_session_id'] = 'session-of-the-upload'
    return Refused(409, {'error_summary': '/'.join(tags) + '/..', 'error': {**value, **more}})


def bad(why):
    return Refused(400, 'Error in call to API function: ' + why)


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


def content_hash(parts):
    whole = hashlib.sha256()
    for block in parts:
        whole.update(hashlib.sha256(block).digest())
    return whole.hexdigest()


def hash_of(path):
    with open(path, 'rb') as file:
        return content_hash(iter(lambda: file.read(BLOCK_BYTES), b''))


def hash_of_bytes(value):
    return content_hash(value[at:at + BLOCK_BYTES] for at in range(0, len(value), BLOCK_BYTES))


def fields(question, needed, known):
    if not isinstance(question, dict):
        raise bad('expected object')
    for name in needed:
        if name not in question:
            raise bad("missing required field '%s'" % name)
    for name in question:
        if name not in needed and name not in known:
            raise bad("unknown field '%s'" % name)


def local(path, tag='path', inner=''):
    if not isinstance(path, str) or not re.fullmatch(r'(/[^/]+)*', path) or '\\' in path:
        raise error(tag, 'malformed_path', inner=inner)
    if any(part in ('.', '..') for part in path.split('/')):
        raise error(tag, 'malformed_path', inner=inner)
    return data + path.lower()


def metadata(path, tagged=True):
    below = path[len(data):]
    entry = {'.tag': 'folder', 'name': os.path.basename(path), 'path_lower': below, 'path_display': below, 'id': 'id:' + below}
    if os.path.isfile(path):
        entry.update({'.tag': 'file', 'size': os.path.getsize(path), 'content_hash': hash_of(path), 'rev': '0123456789abcdef',
                      'client_modified': '2026-01-01T00:00:00Z', 'server_modified': '2026-01-01T00:00:00Z', 'is_downloadable': True})
    if not tagged:
        del entry['.tag']
    return entry


def list_folder(question):
    fields(question, ['path'], ['recursive', 'limit', 'include_deleted', 'include_media_info', 'include_mounted_folders', 'include_restorable_info',
                                'include_has_explicit_shared_members', 'include_non_downloadable_files'])
    path = local(question['path'])
    if not os.path.exists(path):
        raise error('path', 'not_found')
    if not os.path.isdir(path):
        raise error('path', 'not_folder')
    found = []
    for folder, folders, files in os.walk(path):
        found += [os.path.join(folder, name) for name in sorted(folders) + sorted(files)]
        if not question.get('recursive'):
            break
    return page(found, question.get('limit', PAGE))


def page(found, limit):
    limit = min(limit, control().get('page', PAGE))
    now, rest = found[:limit], found[limit:]
    cursor = 'cursor-' + os.urandom(8).hex()
    cursors[cursor] = (rest, limit)
    entries = [metadata(path) for path in now if os.path.exists(path)]
    gone = control().get('gone')
    if gone and not rest:
        entries.append({'.tag': 'deleted', 'name': os.path.basename(gone), 'path_lower': gone, 'path_display': gone})
    return {'entries': entries, 'cursor': cursor, 'has_more': bool(rest)}


def list_folder_continue(question):
    fields(question, ['cursor'], [])
    if question['cursor'] not in cursors:
        raise bad('Invalid "cursor" parameter: "bad cursor"')
    if spend('reset'):
        raise error('reset')
    return page(*cursors[question['cursor']])


def get_metadata(question):
    fields(question, ['path'], ['include_media_info', 'include_deleted', 'include_has_explicit_shared_members', 'include_restorable_info'])
    path = local(question['path'])
    if not os.path.exists(path):
        raise error('path', 'not_found')
    return metadata(path)


def delete_v2(question):
    fields(question, ['path'], ['parent_rev'])
    path = local(question['path'], 'path_lookup')
    with lock:
        if not os.path.exists(path):
            raise error('path_lookup', 'not_found')
        may_write('path_write')
        answer = {'metadata': metadata(path)}
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        return answer


def create_folder_v2(question):
    fields(question, ['path'], ['autorename'])
    path = local(question['path'])
    with lock:
        may_write('path')
        if os.path.exists(path):
            raise error('path', 'conflict', 'folder' if os.path.isdir(path) else 'file')
        os.makedirs(path)
        return {'metadata': metadata(path, tagged=False)}


def may_write(tag, inner=''):
    if control().get('read_only'):
        raise error(tag, 'no_write_permission', inner=inner)


COMMIT = ['mode', 'autorename', 'client_modified', 'mute', 'property_groups', 'strict_conflict']


def commit(question, body, inner):
    mode = question.get('mode', 'add')
    mode = mode['.tag'] if isinstance(mode, dict) else mode
    if mode not in ('add', 'overwrite'):
        raise bad('mode: this stand-in knows add and overwrite')
    if question.get('autorename'):
        raise bad('autorename: not known to this stand-in')
    path = local(question['path'], 'path', inner)
    with lock:
        may_write('path', inner)
        if os.path.isdir(path):
            raise error('path', 'conflict', 'folder', inner=inner)
        if mode == 'add' and os.path.exists(path):
            if question.get('strict_conflict') or hash_of(path) != hash_of_bytes(body):
                raise error('path', 'conflict', 'file', inner=inner)
        quota = control().get('quota')
        if quota is not None:
            used = sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(data) for name in names)
            if quota < used + len(body):
                raise error('path', 'insufficient_space', inner=inner)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        part = os.path.join(scratch, os.urandom(8).hex())
        with open(part, 'wb') as file:
            file.write(body)
        os.replace(part, path)
        return metadata(path, tagged=False)


def check_hash(question, body):
    wanted = question.get('content_hash')
    if wanted is not None and wanted != hash_of_bytes(body):
        raise error('content_hash_mismatch')


def upload(question, body):
    fields(question, ['path'], COMMIT + ['content_hash'])
    if SINGLE_UPLOAD_BYTES < len(body):
        raise error('payload_too_large')
    check_hash(question, body)
    return commit(question, body, 'reason')


def session_start(question, body):
    fields(question, [], ['close', 'session_type', 'content_hash'])
    check_hash(question, body)
    name = 'session-' + os.urandom(8).hex()
    sessions[name] = bytearray(body)
    return {'session_id': name}


def session_of(cursor, wrap):
    fields(cursor, ['session_id', 'offset'], [])
    session = sessions.get(cursor['session_id'])
    tags = ('lookup_failed',) if wrap else ()
    if session is None:
        raise error(*tags, 'not_found')
    if cursor['offset'] != len(session):
        raise error(*tags, 'incorrect_offset', **({} if wrap else {'correct_offset': len(session)}))
    return session


def session_append(question, body):
    fields(question, ['cursor'], ['close', 'content_hash'])
    session = session_of(question['cursor'], False)
    check_hash(question, body)
    session.extend(body)
    return None


def session_finish(question, body):
    fields(question, ['cursor', 'commit'], ['content_hash'])
    fields(question['commit'], ['path'], COMMIT)
    session = session_of(question['cursor'], True)
    check_hash(question, body)
    return commit(question['commit'], bytes(session) + body, 'path')


CALLS = {'/2/files/list_folder': list_folder, '/2/files/list_folder/continue': list_folder_continue,
         '/2/files/get_metadata': get_metadata, '/2/files/delete_v2': delete_v2, '/2/files/create_folder_v2': create_folder_v2}
UPLOADS = {'/2/files/upload': upload, '/2/files/upload_session/start': session_start,
           '/2/files/upload_session/append_v2': session_append, '/2/files/upload_session/finish': session_finish}


class Door(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *words):
        pass

    def do_POST(self):
        length = self.headers.get('Content-Length')
        body = self.rfile.read(int(length or 0))
        if len(body) != int(length or 0):
            self.close_connection = True
            return
        try:
            if length is None:
                raise Refused(411, 'Length Required')
            status, headers, answer = self.answer(body)
        except Refused as refused:
            status, headers, answer = refused.status, refused.headers, refused.body
        if not isinstance(answer, bytes):
            text = answer if isinstance(answer, str) else json.dumps(answer)
            headers['Content-Type'] = 'text/plain' if isinstance(answer, str) else 'application/json'
            answer = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def answer(self, body):
        if self.path == '/oauth2/token':
            return 200, {}, self.token(body)
        self.check_token()
        if spend('busy'):
            raise Refused(429, {'error_summary': 'too_many_write_operations/', 'error': {'reason': {'.tag': 'too_many_write_operations'}, 'retry_after': 0}}, {'Retry-After': '0'})
        kind = (self.headers.get('Content-Type') or '').split(';')[0]
        if self.path in CALLS:
            if kind != 'application/json':
                raise bad('Bad HTTP "Content-Type" header: "%s"' % kind)
            return 200, {}, CALLS[self.path](self.parsed(body.decode()))
        question = self.headers.get('Dropbox-API-Arg')
        if question is None or not question.isascii():
            raise bad('Must provide HTTP header "Dropbox-API-Arg" in ASCII')
        question = self.parsed(question)
        if self.path in UPLOADS:
            if kind != 'application/octet-stream':
                raise bad('Bad HTTP "Content-Type" header: "%s"' % kind)
            return 200, {}, UPLOADS[self.path](question, body)
        if self.path == '/2/files/download':
            if kind not in ('', 'text/plain', 'application/octet-stream') or body:
                raise bad('Bad HTTP "Content-Type" header: "%s"' % kind)
            return self.download(question)
        raise Refused(404, 'no such route')

    def parsed(self, text):
        try:
            return json.loads(text)
        except ValueError:
            raise bad('could not decode input as JSON')

    def token(self, body):
        form = dict(urllib.parse.parse_qsl(body.decode()))
        if form.get('client_id') != APP_KEY or form.get('client_secret', APP_SECRET) != APP_SECRET:
            raise Refused(400, {'error': 'invalid_client', 'error_description': 'Invalid client_id or client_secret'})
        if form.get('grant_type') != 'refresh_token' or form.get('refresh_token') != REFRESH_TOKEN or control().get('revoked'):
            raise Refused(400, {'error': 'invalid_grant', 'error_description': 'refresh token is invalid or revoked'})
        token = 'sl.test-' + os.urandom(12).hex()
        tokens[token] = True
        return {'access_token': token, 'token_type': 'bearer', 'expires_in': 14400}

    def check_token(self):
        if spend('expired'):
            for token in tokens:
                tokens[token] = False
        token = (self.headers.get('Authorization') or '').removeprefix('Bearer ')
        if not tokens.get(token):
            tag = 'expired_access_token' if token in tokens else 'invalid_access_token'
            raise Refused(401, {'error_summary': tag + '/', 'error': {'.tag': tag}})

    def download(self, question):
        fields(question, ['path'], ['rev'])
        path = local(question['path'])
        if not os.path.isfile(path):
            raise error('path', 'not_found')
        with open(path, 'rb') as file:
            whole = file.read()
        headers = {'Dropbox-API-Result': json.dumps(metadata(path, tagged=False)), 'Content-Type': 'application/octet-stream'}
        asked = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range') or '')
        if not asked:
            return 200, headers, whole
        first, last = int(asked[1]), min(int(asked[2] or len(whole)), len(whole) - 1)
        if len(whole) <= first:
            raise Refused(416, 'Range Not Satisfiable', {'Content-Range': 'bytes */%d' % len(whole)})
        headers['Content-Range'] = 'bytes %d-%d/%d' % (first, last, len(whole))
        return 206, headers, whole[first:last + 1]


server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Door)
if 3 < len(sys.argv):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
