<?php
// One sabre/dav server for one test, as a script of PHP's own web server. `@...@` are filled in.
require 'Sabre/autoload.php';
require '@FOLDER@/accounts.php';

use Sabre\DAV;

// A folder that reports a quota of its own instead of the disk's.
class BoundedDirectory extends DAV\FS\Directory
{
    public function getQuotaInfo()
    {
        $used = (int) shell_exec('du -sb ' . escapeshellarg('@DATA@') . ' | cut -f 1');
        return [$used, max(0, @QUOTA_BYTES@ - $used)];
    }

    public function getChild($name)
    {
        $path = $this->path . '/' . $name;
        return is_dir($path) ? new BoundedDirectory($path) : parent::getChild($name);
    }
}

class BoundedFiles extends DAV\ServerPlugin
{
    private $server;

    public function initialize(DAV\Server $server)
    {
        $this->server = $server;
        $server->subscribeEvent('beforeCreateFile', [$this, 'check']);
    }

    // What the quota plugin of later versions does.
    public function check($uri, &$data, DAV\ICollection $parent)
    {
        $length = (int) $this->server->httpRequest->getHeader('Content-Length');
        if ($parent instanceof BoundedDirectory && $parent->getQuotaInfo()[1] < $length) {
            throw new DAV\Exception\InsufficientStorage('there is no room for so much');
        }
    }
}

$root = @QUOTA_BYTES@ ? new BoundedDirectory('@DATA@') : new DAV\FS\Directory('@DATA@');
$server = new DAV\Server($root);
$server->setBaseUri('/');
$server->addPlugin(new DAV\Locks\Plugin(new DAV\Locks\Backend\File('@FOLDER@/lock/locks')));
$server->addPlugin(new DAV\Auth\Plugin(new Accounts(), 'dav'));
$server->addPlugin(new BoundedFiles());
$server->exec();
