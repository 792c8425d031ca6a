import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBaseImages, type BaseImagesOptions } from '../../../builder/base-images.ts';
import { WindlassError } from '../../../lib/errors.ts';
import { toFailure } from '../../../runtime-shim/rpc/build-image.ts';

test('an image that cannot be had is named in the failure of the build', async () => {
  const platform = { os: 'linux', architecture: 'amd64' };
  const options: BaseImagesOptions = {
    images: {
      find: () => undefined,
      pull: () => Promise.reject(new WindlassError('NotFound', 'it is not there', { details: { status: 404 } })),
    },
    content: { platform, loadedOf: () => assert.fail('nothing was found') },
    credentials: [],
    pull: false,
    protect: () => undefined,
    onLog: () => undefined,
    signal: new AbortController().signal,
  };
  const error: unknown = await createBaseImages(options)
    .get('docker.io/shop/web:1', platform)
    .catch((reason: unknown) => reason);
  const { missingImage, reason, message, isFinal } = toFailure(error);
  assert.deepEqual(
    { missingImage, reason, message, isFinal },
    { missingImage: 'docker.io/shop/web:1', reason: 'NotFound', message: 'it is not there', isFinal: false },
  );
  assert.equal(toFailure(new WindlassError('Invalid', 'm')).missingImage, '');
});
