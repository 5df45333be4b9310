# A stand-in for Backblaze B2 that follows Backblaze's documentation of its native interface.
#
# Files are kept in memory, every version of them. `PUT /plant/BUCKET/NAME` stores one without asking who asks. What is
# unusual is asked for by the control file:
# {"page": files of a page, "expired": tokens given so far have ended, "stale_lanes": upload addresses given so far have
#  ended, "busy_lanes": uploads to refuse with 503, "cap": bytes, "may": what the key permits, instead of everything}
import base64
import hashlib
import itertools
import time

KEY_ID, KEY, ACCOUNT = 'test-key-id', 'test-application-key', 'test-account'
EVERYTHING = ['listBuckets', 'listFiles', 'readFiles', 'writeFiles', 'deleteFiles', 'writeBuckets', 'readBuckets']
tokens, lanes, buckets, files = {}, {}, {}, {}
numbers = itertools.count(1)


def refused(status, code, message='', headers=()):
    return Refused(status, {'status': status, 'code': code, 'message': message}, headers)


def permitted():
    return control().get('may', EVERYTHING)


def needs(capability):
    if capability not in permitted():
        raise refused(401, 'unauthorized', 'unauthorized entry point')


def authorize(headers):
    if headers.get('Authorization') != 'Basic ' + base64.b64encode(('%s:%s' % (KEY_ID, KEY)).encode()).decode():
        raise refused(401, 'bad_auth_token', 'Invalid applicationKeyId')
    token = '4_test_' + os.urandom(12).hex()
    tokens[token] = True
    storage = {'absoluteMinimumPartSize': 5000000, 'recommendedPartSize': 100000000, 'apiUrl': here.base, 'downloadUrl': here.base, 's3ApiUrl': here.base,
               'infoType': 'storageApi', 'allowed': {'buckets': None, 'capabilities': permitted(), 'namePrefix': None}}
    return {'accountId': ACCOUNT, 'applicationKeyExpirationTimestamp': None, 'authorizationToken': token, 'apiInfo': {'storageApi': storage}}


def check_token(headers):
    if spend('expired'):
        for token in tokens:
            tokens[token] = False
    token = headers.get('Authorization')
    if not tokens.get(token):
        raise refused(401, 'expired_auth_token' if token in tokens else 'bad_auth_token', 'Authorization token has expired')


def described_bucket(name):
    return {'accountId': ACCOUNT, 'bucketId': buckets[name], 'bucketName': name, 'bucketType': 'allPrivate', 'bucketInfo': {},
            'corsRules': [], 'lifecycleRules': [], 'revision': 1, 'options': []}


def list_buckets(question):
    needs('listBuckets')
    wanted = question.get('bucketName')
    return {'buckets': [described_bucket(name) for name in sorted(buckets) if wanted in (None, name)]}


def create_bucket(question):
    needs('writeBuckets')
    name = question['bucketName']
    if not re.fullmatch(r'[A-Za-z0-9-]{6,63}', name):
        raise refused(400, 'bad_request', 'Invalid bucketName: ' + name)
    if name in buckets:
        raise refused(400, 'duplicate_bucket_name', 'Bucket name is already in use.')
    buckets[name] = 'id-%d' % next(numbers)
    files[buckets[name]] = {}
    return described_bucket(name)


def in_bucket(question):
    found = files.get(question.get('bucketId'))
    if found is None:
        raise refused(400, 'bad_bucket_id', 'Bucket does not exist: %s' % question.get('bucketId'))
    return found


def described(name, version):
    return {'accountId': ACCOUNT, 'fileName': name, 'fileId': version['id'], 'action': version['action'], 'contentLength': len(version['bytes']),
            'contentSha1': version['sha1'], 'contentType': 'application/octet-stream' if version['action'] == 'upload' else None,
            'fileInfo': version['info'], 'uploadTimestamp': version['at']}


def add(bucket_files, name, content, action='upload', info=None):
    with lock:
        version = {'id': '4_z%06d' % next(numbers), 'action': action, 'bytes': content, 'info': info or {}, 'at': int(time.time() * 1000),
                   'sha1': hashlib.sha1(content).hexdigest() if action == 'upload' else None}
        bucket_files.setdefault(name, []).append(version)
        return described(name, version)


def page_size(question):
    return min(question.get('maxFileCount') or 100, 10000, control().get('page', 10000))


def list_file_names(question):
    needs('listFiles')
    found, prefix, delimiter = in_bucket(question), question.get('prefix') or '', question.get('delimiter')
    start, most = question.get('startFileName') or '', page_size(question)
    entries = {}
    with lock:
        for name in sorted(found):
            newest = found[name][-1] if found[name] else None
            if not newest or newest['action'] != 'upload' or not name.startswith(prefix) or name < start:
                continue
            head, mark, _ = name[len(prefix):].partition(delimiter) if delimiter else (name, '', '')
            if mark:
                folder = prefix + head + mark
                entries.setdefault(folder, {'fileName': folder, 'action': 'folder', 'fileId': None, 'contentLength': 0, 'contentSha1': None,
                                            'contentType': None, 'fileInfo': {}, 'uploadTimestamp': 0})
            else:
                entries[name] = described(name, newest)
    names = sorted(entries)
    following = names[most] if most < len(names) else None
    return {'files': [entries[name] for name in names[:most]], 'nextFileName': following}


def list_file_versions(question):
    needs('listFiles')
    found, prefix = in_bucket(question), question.get('prefix') or ''
    start, start_id, most = question.get('startFileName') or '', question.get('startFileId'), page_size(question)
    with lock:
        every = [described(name, version) for name in sorted(found) for version in reversed(found[name]) if name.startswith(prefix) and start <= name]
    if start_id:
        at = next((number for number, version in enumerate(every) if version['fileId'] == start_id), None)
        if at is None:
            raise refused(400, 'bad_request', 'Invalid startFileId')
        every = every[at:]
    following = every[most] if most < len(every) else {'fileName': None, 'fileId': None}
    return {'files': every[:most], 'nextFileName': following['fileName'], 'nextFileId': following['fileId']}


def delete_file_version(question):
    needs('deleteFiles')
    with lock:
        for found in files.values():
            versions = found.get(question['fileName'], [])
            for version in versions:
                if version['id'] == question['fileId']:
                    versions.remove(version)
                    return {'fileName': question['fileName'], 'fileId': question['fileId']}
    raise refused(400, 'file_not_present', 'File not present: %(fileName)s %(fileId)s' % question)


def hide_file(question):
    needs('writeFiles')
    return add(in_bucket(question), question['fileName'], b'', 'hide')


def get_upload_url(question):
    needs('writeFiles')
    in_bucket(question)
    lane, token = os.urandom(8).hex(), 'lane_' + os.urandom(12).hex()
    lanes[lane] = {'token': token, 'bucket': question['bucketId'], 'busy': threading.Lock()}
    return {'bucketId': question['bucketId'], 'uploadUrl': '%s/b2api/v4/b2_upload_file/%s' % (here.base, lane), 'authorizationToken': token}


def upload(headers, lane_name, body):
    if spend('stale_lanes'):
        lanes.clear()
    lane = lanes.get(lane_name)
    if lane is None or headers.get('Authorization') != lane['token']:
        raise refused(401, 'expired_auth_token', 'Upload token has expired')
    if not lane['busy'].acquire(blocking=False):
        raise refused(400, 'bad_request', 'more than one upload using auth token')
    try:
        if spend('busy_lanes'):
            raise refused(503, 'service_unavailable', 'no tomes available', {'Retry-After': '0'})
        return upload_in(headers, files[lane['bucket']], body)
    finally:
        lane['busy'].release()


def upload_in(headers, found, body):
    wanted = headers.get('X-Bz-Content-Sha1')
    if wanted == 'hex_digits_at_end':
        body, wanted = body[:-40], body[-40:].decode()
    if wanted is None or headers.get('Content-Type') is None or headers.get('X-Bz-File-Name') is None:
        raise refused(400, 'bad_request', 'a header is missing')
    if wanted not in (hashlib.sha1(body).hexdigest(), 'do_not_verify'):
        raise refused(400, 'bad_request', 'Sha1 did not match data received')
    name = urllib.parse.unquote(headers['X-Bz-File-Name'], errors='strict')
    if not 0 < len(name.encode()) <= 1024 or name.startswith('/') or '//' in name or '\\' in name:
        raise refused(400, 'bad_request', 'File names must be well-formed')
    cap = control().get('cap')
    if cap is not None and cap < len(body) + sum(len(version['bytes']) for versions in found.values() for version in versions):
        raise refused(403, 'storage_cap_exceeded', 'Cannot upload files, storage cap exceeded.')
    info = {key[len('X-Bz-Info-'):].lower(): value for key, value in headers.items() if key.lower().startswith('x-bz-info-')}
    return add(found, name, body, info=info)


def download(headers, name, version):
    more = {'Content-Type': 'application/octet-stream', 'X-Bz-File-Id': version['id'], 'X-Bz-File-Name': urllib.parse.quote(name),
            'X-Bz-Content-Sha1': version['sha1'], 'X-Bz-Upload-Timestamp': str(version['at']), 'Accept-Ranges': 'bytes'}
    more.update({'X-Bz-Info-' + key: value for key, value in version['info'].items()})
    return ranged(headers, version['bytes'], more)


def download_by_name(headers, bucket, name):
    needs('readFiles')
    if bucket not in buckets:
        raise refused(404, 'not_found', 'Bucket %s does not exist' % bucket)
    with lock:
        versions = files[buckets[bucket]].get(name)
        newest = versions[-1] if versions else None
    if not newest or newest['action'] != 'upload':
        raise refused(404, 'not_found', 'File with such name does not exist.')
    return download(headers, name, newest)


def download_by_id(headers, wanted):
    needs('readFiles')
    with lock:
        found = [(name, version) for held in files.values() for name, versions in held.items() for version in versions if version['id'] == wanted]
    if not found or found[0][1]['action'] != 'upload':
        raise refused(404, 'not_found', 'File not present: %s' % wanted)
    return download(headers, *found[0])


CALLS = {'b2_list_buckets': list_buckets, 'b2_create_bucket': create_bucket, 'b2_list_file_names': list_file_names,
         'b2_list_file_versions': list_file_versions, 'b2_delete_file_version': delete_file_version, 'b2_hide_file': hide_file,
         'b2_get_upload_url': get_upload_url}


def answer_to(door, path, query, body):
    headers = door.headers
    planted = re.fullmatch(r'/plant/([^/]+)/(.+)', path)
    if planted:
        return 200, {}, add(files[buckets[planted[1]]], urllib.parse.unquote(planted[2]), body)
    call = re.fullmatch(r'/b2api/v[1-4]/(b2_\w+)(?:/(\w+))?', path)
    if call and call[1] == 'b2_authorize_account':
        return 200, {}, authorize(headers)
    if call and call[1] == 'b2_upload_file':
        return 200, {}, upload(headers, call[2], body)
    check_token(headers)
    if path.startswith('/file/'):
        bucket, _, name = path[len('/file/'):].partition('/')
        return download_by_name(headers, bucket, urllib.parse.unquote(name))
    if call and call[1] == 'b2_download_file_by_id':
        return download_by_id(headers, query.get('fileId'))
    if not call or call[1] not in CALLS:
        raise refused(400, 'bad_request', 'unknown call ' + path)
    answer = CALLS[call[1]](json.loads(body))
    if path.startswith('/b2api/v1/'):
        # The first version of the interface has another word for the length in listings.
        for file in answer.get('files', []):
            file['size'] = file.pop('contentLength')
    return 200, {}, answer


serve()
