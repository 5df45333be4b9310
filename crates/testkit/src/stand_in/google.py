# A stand-in for Google Cloud Storage that follows Google's documentation of its JSON interface.
#
# Objects are files DATA-FOLDER/BUCKET/NAME. The key of the one service account that it knows is in `account.json` beside
# that folder (modulus and exponent in hexadecimal). What is unusual is asked for by the control file:
# {"page": objects of a page, "expired": tokens given so far have ended, "revoked": no more tokens, "quota": bytes,
#  "read_only": true, "creator": new objects alone are permitted, "kept": nothing is replaced or removed, "busy": requests to refuse with 429}
import base64
import hashlib
import time

DIGEST_INFO = bytes.fromhex('3031300d060960864801650304020105000420')
CLAIMS = {'iss', 'scope', 'aud', 'iat', 'exp'}
tokens, sessions = {}, {}
with open(os.path.join(os.path.dirname(data), 'account.json')) as account_file:
    account = json.load(account_file)


def refused(status, reason, message):
    return Refused(status, {'error': {'code': status, 'message': message, 'errors': [{'message': message, 'domain': 'global', 'reason': reason}]}})


def unpadded(text):
    return base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))


def is_signed(said, signature):
    modulus, exponent = int(account['modulus'], 16), int(account['exponent'], 16)
    length = (modulus.bit_length() + 7) // 8
    opened = pow(int.from_bytes(signature, 'big'), exponent, modulus).to_bytes(length, 'big')
    end = b'\x00' + DIGEST_INFO + hashlib.sha256(said).digest()
    return opened == b'\x00\x01' + b'\xff' * (length - 2 - len(end)) + end


def token(body):
    form = dict(urllib.parse.parse_qsl(body.decode()))
    def no(description, error='invalid_grant'):
        return Refused(400, {'error': error, 'error_description': description})
    if control().get('revoked'):
        raise no('Invalid grant: account not found')
    if form.get('grant_type') == 'refresh_token':
        if (form.get('client_id'), form.get('client_secret'), form.get('refresh_token')) != ('test-id', 'test-secret', 'test-refresh'):
            raise no('Bad Request')
    elif form.get('grant_type') == 'urn:ietf:params:oauth:grant-type:jwt-bearer':
        said, _, signature = form['assertion'].rpartition('.')
        head, claims = (json.loads(unpadded(part)) for part in said.split('.'))
        now = time.time()
        if head.get('alg') != 'RS256' or not is_signed(said.encode(), unpadded(signature)):
            raise no('Invalid JWT Signature.')
        if claims['iss'] != account['client_email'] or not CLAIMS <= set(claims):
            raise no('Invalid JWT: wrong claims')
        if claims['aud'] != here.base + '/token' or now + 300 < claims['iat'] or claims['exp'] < now or 3600 < claims['exp'] - claims['iat']:
            raise no('Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.')
    else:
        raise no('Invalid grant_type: %s' % form.get('grant_type'), 'unsupported_grant_type')
    name = 'ya29.test-' + os.urandom(12).hex()
    tokens[name] = True
    return 200, {}, {'access_token': name, 'token_type': 'Bearer', 'expires_in': 3599}


def check_token(headers):
    if spend('expired'):
        for name in tokens:
            tokens[name] = False
    name = (headers.get('Authorization') or '').removeprefix('Bearer ')
    if not tokens.get(name) and name != 'test-given-token':
        raise refused(401, 'authError', 'Invalid Credentials')


def folder(bucket):
    path = os.path.join(data, bucket)
    if not re.fullmatch(r'[a-z0-9][a-z0-9._-]+', bucket) or not os.path.isdir(path):
        raise refused(404, 'notFound', 'The specified bucket does not exist.')
    return path


def file_of(bucket, name):
    if not name or name.startswith('/') or any(part in ('', '.', '..') for part in name.split('/')):
        raise refused(400, 'invalid', 'Invalid object name')
    return os.path.join(folder(bucket), name)


def md5_of(path):
    with open(path, 'rb') as file:
        return base64.b64encode(hashlib.md5(file.read()).digest()).decode()


def described(bucket, name):
    path = os.path.join(folder(bucket), name)
    at, size = os.stat(path).st_mtime_ns, os.path.getsize(path)
    moment = time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(at // 10**9))
    link = '%s/download/storage/v1/b/%s/o/%s?generation=%d&alt=media' % (here.base, bucket, urllib.parse.quote(name, safe=''), at)
    return {'kind': 'storage#object', 'name': name, 'bucket': bucket, 'generation': str(at), 'metageneration': '1', 'size': str(size),
            'md5Hash': md5_of(path), 'contentType': 'application/octet-stream', 'timeCreated': moment, 'updated': moment,
            'storageClass': 'STANDARD', 'mediaLink': link}


def names_in(bucket):
    top = folder(bucket)
    return sorted(os.path.relpath(os.path.join(at, name), top) for at, _, names in os.walk(top) for name in names)


def listed(bucket, query):
    prefix, delimiter = query.get('prefix', ''), query.get('delimiter')
    found, prefixes = [], set()
    for name in names_in(bucket):
        if not name.startswith(prefix):
            continue
        head, mark, _ = name[len(prefix):].partition(delimiter) if delimiter else (name, '', '')
        prefixes.add(prefix + head + mark) if mark else found.append(name)
    after = base64.urlsafe_b64decode(query['pageToken']).decode() if query.get('pageToken') else ''
    most = min(int(query.get('maxResults', 1000)), 1000, control().get('page', 1000))
    rest = [name for name in found if after < name]
    now = rest[:most]
    items = []
    for name in now:
        try:
            items.append(described(bucket, name))
        except FileNotFoundError:
            pass
    answer = {'kind': 'storage#objects'}
    if items:
        answer['items'] = items
    if prefixes:
        answer['prefixes'] = sorted(prefixes)
    if most < len(rest):
        answer['nextPageToken'] = base64.urlsafe_b64encode(now[-1].encode()).decode()
    return answer


def check_generation(query, path):
    wanted = query.get('ifGenerationMatch')
    there = str(os.stat(path).st_mtime_ns) if os.path.exists(path) else '0'
    if wanted is not None and wanted != there:
        raise refused(412, 'conditionNotMet', 'At least one of the pre-conditions you specified did not hold.')


def may_change(bucket, name, permission):
    if control().get('read_only'):
        raise refused(403, 'forbidden', '%s does not have %s access to the Google Cloud Storage object.' % (account['client_email'], permission))
    if control().get('creator') and os.path.exists(file_of(bucket, name)):
        raise refused(403, 'forbidden', '%s does not have storage.objects.delete access to the Google Cloud Storage object.' % account['client_email'])
    if control().get('kept') and os.path.exists(file_of(bucket, name)):
        raise refused(403, 'retentionPolicyNotMet', "Object '%s/%s' is subject to bucket's retention policy and cannot be deleted or overwritten" % (bucket, name))


def store(bucket, about, query, content):
    name = query.get('name') or about.get('name')
    path = file_of(bucket, name)
    md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
    if about.get('md5Hash', md5) != md5:
        raise refused(400, 'invalid', "Provided MD5 hash \"%s\" doesn't match calculated MD5 hash \"%s\"." % (about['md5Hash'], md5))
    with lock:
        check_generation(query, path)
        may_change(bucket, name, 'storage.objects.create')
        quota = control().get('quota')
        if quota is not None and quota < len(content) + sum(os.path.getsize(os.path.join(folder(bucket), other)) for other in names_in(bucket)):
            raise refused(403, 'quotaExceeded', 'The quota of this project has been exceeded.')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        part = os.path.join(os.path.dirname(data), os.urandom(8).hex())
        with open(part, 'wb') as file:
            file.write(content)
        os.replace(part, path)
        return described(bucket, name)


def parts_of(kind, body):
    # multipart/related of two parts: what is said about an object, and its bytes.
    boundary = re.search(r'boundary="?([^";]+)', kind or '')
    if not boundary:
        raise refused(400, 'badContent', 'Missing multipart boundary.')
    mark = b'--' + boundary[1].encode()
    pieces = (b'\r\n' + body).split(b'\r\n' + mark)
    if len(pieces) != 4 or not pieces[3].startswith(b'--'):
        raise refused(400, 'badContent', 'Malformed multipart body.')
    about, content = (piece.split(b'\r\n\r\n', 1)[1] for piece in pieces[1:3])
    return json.loads(about), content


def upload(door, bucket, query, body):
    folder(bucket)
    kind = door.headers.get('Content-Type')
    if query.get('uploadType') == 'multipart':
        return 200, {}, store(bucket, *(lambda about, content: (about, query, content))(*parts_of(kind, body)))
    if query.get('uploadType') == 'media':
        return 200, {}, store(bucket, {}, query, body)
    if query.get('uploadType') != 'resumable':
        raise refused(400, 'invalid', 'Invalid upload type')
    if door.command == 'POST':
        name = os.urandom(8).hex()
        sessions[name] = (json.loads(body or b'{}'), query, bytearray())
        location = '%s/upload/storage/v1/b/%s/o?uploadType=resumable&upload_id=%s' % (here.base, bucket, name)
        return 200, {'Location': location, 'X-GUploader-UploadID': name}, b''
    about, first_query, content = sessions[query['upload_id']]
    told = re.fullmatch(r'bytes (?:(\d+)-\d+|\*)/(\d+|\*)', door.headers.get('Content-Range') or '')
    content.extend(body)
    if told and told[2] == '*':
        return 308, {'Range': 'bytes=0-%d' % (len(content) - 1), 'X-HTTP-Status-Code-Override': '308'}, b''
    return 200, {}, store(bucket, about, first_query, bytes(content))


def object_route(door, bucket, name, query):
    path = file_of(bucket, name)
    if not os.path.isfile(path):
        if query.get('alt') == 'media':
            raise Refused(404, 'No such object: %s/%s' % (bucket, name))
        raise refused(404, 'notFound', 'No such object: %s/%s' % (bucket, name))
    if door.command == 'DELETE':
        with lock:
            check_generation(query, path)
            may_change(bucket, name, 'storage.objects.delete')
            os.remove(path)
            return 204, {}, b''
    if query.get('alt') != 'media':
        return 200, {}, described(bucket, name)
    with open(path, 'rb') as file:
        return ranged(door.headers, file.read(), {'Content-Type': 'application/octet-stream', 'X-Goog-Hash': 'md5=' + md5_of(path)})


def answer_to(door, path, query, body):
    if path == '/token':
        return token(body)
    check_token(door.headers)
    if spend('busy'):
        raise Refused(429, {'error': {'code': 429, 'message': 'The rate of requests is too high.', 'errors': [{'reason': 'rateLimitExceeded'}]}}, {'Retry-After': '0'})
    if path.startswith('/upload/storage/v1/b/'):
        return upload(door, path.split('/')[5], query, body)
    route = re.fullmatch(r'(?:/download)?/storage/v1/b(?:/([^/]+)(/o(?:/([^/]+))?)?)?', path)
    if not route:
        raise refused(404, 'notFound', 'Not Found')
    bucket, objects, name = route[1], route[2], urllib.parse.unquote(route[3] or '')
    if bucket is None and door.command == 'POST':
        wanted = json.loads(body)['name']
        if query.get('project') != account['project_id']:
            raise refused(400, 'invalid', 'Unknown project id: %s' % query.get('project'))
        if os.path.isdir(os.path.join(data, wanted)):
            raise refused(409, 'conflict', 'Your previous request to create the named bucket succeeded and you already own it.')
        os.mkdir(os.path.join(data, wanted))
        return 200, {}, {'kind': 'storage#bucket', 'name': wanted}
    if name:
        return object_route(door, bucket, name, query)
    if objects:
        return 200, {}, listed(bucket, query)
    folder(bucket)
    return 200, {}, {'kind': 'storage#bucket', 'name': bucket, 'location': 'EU', 'storageClass': 'STANDARD'}


serve()
