<?php
// Who may log in to a server of PHP.
class Accounts extends Sabre\DAV\Auth\Backend\AbstractBasic
{
    protected function validateUserPass($user, $password)
    {
        return $user === 'alice' && $password === 'open sesame';
    }
}
