# Dropbox's own client library against the stand-in: what it finds there has to be what it expects of Dropbox.
#
#   DROPBOX_API_HOST=... DROPBOX_API_CONTENT_HOST=... python3 official_client.py AUTHORITY
import sys

import dropbox
from dropbox import files

client = dropbox.Dropbox(oauth2_refresh_token='test-refresh-token', app_key='test-app-key', app_secret='test-app-secret',
                         ca_certs=sys.argv[1], max_retries_on_error=0)


def refused(call, *arguments, **more):
    try:
        call(*arguments, **more)
    except dropbox.exceptions.ApiError as error:
        return error.error
    raise SystemExit('it was not refused: %s' % (arguments,))


stored = client.files_upload(b'one', '/a/b/one', mode=files.WriteMode.overwrite)
assert (stored.size, stored.path_lower) == (3, '/a/b/one'), stored
error = refused(client.files_upload, b'two', '/a/b/one', mode=files.WriteMode.add)
assert error.is_path() and error.get_path().reason.is_conflict() and error.get_path().reason.get_conflict().is_file(), error
client.files_upload(b'one', '/a/b/one', mode=files.WriteMode.add)
error = refused(client.files_upload, b'one', '/a/b/one', mode=files.WriteMode.add, strict_conflict=True)
assert error.get_path().reason.is_conflict(), error
assert refused(client.files_upload, b'x', '/a/x', content_hash='0' * 64).is_content_hash_mismatch()
found, answer = client.files_download('/a/b/one')
assert (answer.content, found.content_hash) == (b'one', stored.content_hash)
assert refused(client.files_download, '/a/b/none').get_path().is_not_found()
assert isinstance(client.files_get_metadata('/a/b'), files.FolderMetadata)
assert refused(client.files_get_metadata, '/none').get_path().is_not_found()

session = client.files_upload_session_start(b'12345').session_id
error = refused(client.files_upload_session_append_v2, b'x', files.UploadSessionCursor(session, 4))
assert error.is_incorrect_offset() and error.get_incorrect_offset().correct_offset == 5, error
client.files_upload_session_append_v2(b'678', files.UploadSessionCursor(session, 5))
error = refused(client.files_upload_session_finish, b'', files.UploadSessionCursor('none', 0), files.CommitInfo('/a/large'))
assert error.is_lookup_failed() and error.get_lookup_failed().is_not_found(), error
large = client.files_upload_session_finish(b'90', files.UploadSessionCursor(session, 8), files.CommitInfo('/a/large'))
assert large.size == 10, large

for number in range(7):
    client.files_upload(b'%d' % number, '/many/%d' % number)
names, page = [], client.files_list_folder('/many', recursive=True, limit=3)
while True:
    names += [entry.name for entry in page.entries if isinstance(entry, files.FileMetadata)]
    if not page.has_more:
        break
    page = client.files_list_folder_continue(page.cursor)
assert names == [str(number) for number in range(7)], names
assert refused(client.files_list_folder, '/none').get_path().is_not_found()
assert refused(client.files_create_folder_v2, '/many').get_path().get_conflict().is_folder()
assert client.files_create_folder_v2('/new').metadata.path_lower == '/new'
assert client.files_delete_v2('/many').metadata.name == 'many'
error = refused(client.files_delete_v2, '/many')
assert error.is_path_lookup() and error.get_path_lookup().is_not_found(), error
print('the official client found what it expects')
