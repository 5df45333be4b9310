<?php
// A stand-in for Nextcloud, which no package registry has: sabre/dav, the library below Nextcloud's own server, with
// the addresses and the rules of its manual on "Chunked file upload v2". `@...@` are filled in.
require 'Sabre/autoload.php';
require '@FOLDER@/accounts.php';

use Sabre\DAV;

const PART_LEAST_BYTES = 5 * 1024 * 1024;
const PART_LAST_NUMBER = 10000;

// `uploads/USER/`: holds one folder for each upload.
class UploadHome extends DAV\FS\Directory
{
    public function createFile($name, $data = null)
    {
        throw new DAV\Exception\Forbidden('Permission denied to create file (filename ' . $name . ')');
    }

    public function getChild($name)
    {
        if (!is_dir($this->path . '/' . $name)) {
            throw new DAV\Exception\NotFound($name);
        }
        return new UploadFolder($this->path . '/' . $name);
    }
}

// One upload: numbered parts, and the invisible `.file` that is all of them.
class UploadFolder extends DAV\FS\Directory
{
    public function createFile($name, $data = null)
    {
        if (!preg_match('/^[0-9]{1,5}$/', $name) || (int) $name < 1 || PART_LAST_NUMBER < (int) $name) {
            throw new DAV\Exception\BadRequest('a part is called by its number, 1 to 10000');
        }
        return parent::createFile($name, $data);
    }

    public function createDirectory($name)
    {
        throw new DAV\Exception\Forbidden('no folders in an upload');
    }

    public function childExists($name)
    {
        return $name === '.file' || parent::childExists($name);
    }

    public function getChild($name)
    {
        return $name === '.file' ? new JoinedFile($this) : parent::getChild($name);
    }

    public function parts()
    {
        $names = array_values(array_diff(scandir($this->path), ['.', '..']));
        usort($names, fn ($one, $other) => (int) $one - (int) $other);
        return array_map(fn ($name) => $this->path . '/' . $name, $names);
    }
}

// All parts as one file; gone with its folder.
class JoinedFile extends DAV\File
{
    private $folder;

    public function __construct(UploadFolder $folder)
    {
        $this->folder = $folder;
    }

    public function getName()
    {
        return '.file';
    }

    public function getSize()
    {
        return array_sum(array_map('filesize', $this->folder->parts()));
    }

    public function get()
    {
        $parts = $this->folder->parts();
        foreach (array_slice($parts, 0, -1) as $part) {
            if (filesize($part) < PART_LEAST_BYTES) {
                throw new DAV\Exception\BadRequest('a part is smaller than 5 MB');
            }
        }
        $joined = tmpfile();
        foreach ($parts as $part) {
            stream_copy_to_stream(fopen($part, 'r'), $joined);
        }
        rewind($joined);
        return $joined;
    }

    public function delete()
    {
        $this->folder->delete();
    }
}

// What the manual asks of every request that belongs to an upload.
class ChunkingRules extends DAV\ServerPlugin
{
    private $server;

    public function initialize(DAV\Server $server)
    {
        $this->server = $server;
        $server->subscribeEvent('beforeMethod', [$this, 'check']);
    }

    public function check($method, $uri)
    {
        if (!preg_match('#^remote\.php/dav/uploads/[^/]+/[^/]+#', $uri)) {
            return true;
        }
        error_log($method . ' ' . $uri);
        $request = $this->server->httpRequest;
        if (in_array($method, ['MKCOL', 'PUT', 'MOVE']) && !$request->getHeader('Destination')) {
            throw new DAV\Exception\BadRequest('Destination is missing');
        }
        if (!in_array($method, ['PUT', 'MOVE'])) {
            return true;
        }
        $total = $request->getHeader('OC-Total-Length');
        if ($total === null) {
            throw new DAV\Exception\BadRequest('OC-Total-Length is missing');
        }
        $joined = $this->server->tree->getNodeForPath(dirname($uri))->getChild('.file');
        if ($method === 'MOVE' && $joined->getSize() !== (int) $total) {
            throw new DAV\Exception\BadRequest('Chunks on server do not sum up to ' . $total . ' but to ' . $joined->getSize() . ' bytes');
        }
        return true;
    }
}

@mkdir('@DATA@/files/alice', 0777, true);
@mkdir('@DATA@/uploads/alice', 0777, true);
$root = [new DAV\SimpleCollection('remote.php', [new DAV\SimpleCollection('dav', [
    new DAV\SimpleCollection('files', [new DAV\FS\Directory('@DATA@/files/alice')]),
    new DAV\SimpleCollection('uploads', [new UploadHome('@DATA@/uploads/alice')]),
])])];
$server = new DAV\Server($root);
$server->setBaseUri('/');
$server->addPlugin(new DAV\Auth\Plugin(new Accounts(), 'dav'));
$server->addPlugin(new ChunkingRules());
$server->exec();
