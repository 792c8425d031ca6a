import assert from 'node:assert/strict';
import { lstatSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeWorkdir } from '../../../builder/make-workdir.ts';
import { openBuildPlace } from '../../support/build-place.ts';
import { requireRoot } from '../../support/require.ts';

test('makeWorkdir() makes folders of mode 755 for the user, whatever the umask', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace({ 'srv/old/': '', 'etc/passwd': 'web:x:33:34::/:/bin/sh\n', file: 'x' });
  symlinkSync('/srv', join(place.root, 'link'));
  const before = process.umask(0o077);
  try {
    makeWorkdir(place.root, { kind: 'workdir', path: '/link/old/a/b', user: 'web' });
  } finally {
    process.umask(before);
  }
  const look = (path: string): number[] => {
    const { mode, uid, gid } = lstatSync(join(place.root, path));
    return [mode & 0o7777, uid, gid];
  };
  assert.deepEqual(
    [look('srv/old/a'), look('srv/old/a/b')],
    [
      [0o755, 33, 34],
      [0o755, 33, 34],
    ],
  );
  assert.deepEqual(look('srv/old').slice(1), [0, 0]);
  // Who is no user of the image matters only where there is something to make.
  makeWorkdir(place.root, { kind: 'workdir', path: '/srv/old', user: 'nobody-here' });
  assert.throws(() => makeWorkdir(place.root, { kind: 'workdir', path: '/new', user: 'nobody-here' }), {
    reason: 'Invalid',
  });
  assert.throws(() => makeWorkdir(place.root, { kind: 'workdir', path: '/file/x', user: '' }), {
    reason: 'Invalid',
    message: /\/file in the image is no folder/,
  });
});
