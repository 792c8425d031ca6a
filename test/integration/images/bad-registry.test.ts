import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../../oci/digest.ts';
import { MEDIA_TYPES } from '../../../oci/media-types.ts';
import { makeImage, makeTar } from '../../support/images.ts';
import { openTestImages, type TestImages } from '../../support/image-service.ts';
import { startBadRegistry, type BadBehaviour, type BadRegistry } from '../../support/registry.ts';
import { requireRoot } from '../../support/require.ts';

const signal = new AbortController().signal;
// Bytes that do not compress, so that a blob can be cut in its middle.
const noise = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * index * 31 + (index >> 3)) & 0xff));
const image = makeImage({ layers: [[{ name: 'noise', content: noise }]], compression: 'none' });
const layer = image.layers[0]?.digest ?? '';

async function withRegistry(
  t: TestContext,
  behaviour: BadBehaviour,
  use: (images: TestImages, registry: BadRegistry, pull: () => Promise<unknown>) => Promise<void>,
  auth?: { username: string; password: string },
): Promise<void> {
  if (!requireRoot(t)) return;
  await using registry = await startBadRegistry(image, behaviour);
  await using images = await openTestImages();
  await use(images, registry, () => images.service.pull(`${registry.host}/a/b:1`, auth, { signal }));
  const staging = readdirSync(join(images.home, 'snapshots/staging'));
  assert.deepEqual(staging, []);
}

test('pull() of garbage instead of a manifest is Invalid and leaves nothing', async (t) => {
  for (const body of ['<html>', '', '{"schemaVersion":2', 'null', '\u0000\u0001']) {
    await withRegistry(
      t,
      ({ url = '' }, response) => url.includes('/manifests/') && (response.end(body), true),
      async (images, _, pull) => {
        await assert.rejects(pull(), { reason: 'Invalid', message: /^invalid manifest sha256:/ });
        assert.deepEqual(images.service.list(), []);
      },
    );
  }
});

test('pull() of a blob with a wrong digest names the blob and both digests', async (t) => {
  const wrong = Buffer.alloc(image.layers[0]?.size ?? 0, 7);
  await withRegistry(
    t,
    ({ url = '' }, response) => url.endsWith(layer) && (response.end(wrong), true),
    async (images, registry, pull) => {
      await assert.rejects(pull(), {
        reason: 'Invalid',
        message: new RegExp(
          `blob ${layer} has digest ${digestOf(wrong)}, want ${layer} \\(from registry ${registry.host}\\)`,
        ),
      });
      assert.equal(readdirSync(join(images.home, 'content/ingest')).length, 0);
    },
  );
});

test('pull() by digest of another manifest, and a lying Docker-Content-Digest, are refused', async (t) => {
  await withRegistry(
    t,
    () => false,
    async (images, registry) => {
      const other = digestOf('other');
      await assert.rejects(images.service.pull(`${registry.host}/a/b@${other}`, undefined, { signal }), {
        reason: 'Invalid',
        message: /has digest sha256:.*, want sha256:/,
      });
    },
  );
  await withRegistry(
    t,
    (_, response) => (response.setHeader('docker-content-digest', digestOf('other')), false),
    async (_, __, pull) => {
      await assert.rejects(pull(), { reason: 'Invalid', message: /want sha256:/ });
    },
  );
});

test('pull() gives up on endless 401, with and without credentials', async (t) => {
  const always: BadBehaviour = ({ url = '' }, response, host) => {
    if (url.startsWith('/token')) response.end('{"token":"t"}');
    else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${host}/token",service="x"` }).end('{}');
    return true;
  };
  await withRegistry(t, always, async (_, registry, pull) => {
    await assert.rejects(pull(), {
      reason: 'Unauthorized',
      message: /refused access to .*: no credentials were given/,
    });
    assert.equal(registry.requests.length, 3);
  });
  const use = async (_: TestImages, registry: BadRegistry, pull: () => Promise<unknown>): Promise<void> => {
    await assert.rejects(pull(), { reason: 'Unauthorized', message: /the credentials were refused/ });
    assert.match(registry.requests[1]?.authorization ?? '', /^Basic /);
    assert.equal(registry.requests[2]?.authorization, 'Bearer t');
  };
  await withRegistry(t, always, use, { username: 'u', password: 'p' });
});

test('pull() answers Basic and Bearer challenges, and asks for one token per repository', async (t) => {
  const guarded: BadBehaviour = ({ url = '', headers }, response, host) => {
    if (url.startsWith('/token')) {
      const scope = new URL(url, 'http://x').searchParams.get('scope');
      response.end(JSON.stringify({ access_token: 'good', expires_in: 300, scope }));
      return headers.authorization === undefined ? false : true;
    }
    if (headers.authorization === 'Bearer good') return false;
    response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${host}/token",scope="repository:*:*"` }).end();
    return true;
  };
  const use = async (_: TestImages, registry: BadRegistry, pull: () => Promise<unknown>): Promise<void> => {
    await pull();
    const tokens = registry.requests.filter(({ url }) => url.startsWith('/token'));
    assert.equal(tokens.length, 1);
    assert.equal(new URL(tokens[0]?.url ?? '', 'http://x').searchParams.get('scope'), 'repository:a/b:pull');
  };
  await withRegistry(t, guarded, use, { username: 'u', password: 'p' });
  const basic: BadBehaviour = ({ headers }, response) => {
    if (headers.authorization === `Basic ${Buffer.from('u:p').toString('base64')}`) return false;
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    return true;
  };
  await withRegistry(t, basic, async (_, __, pull) => void (await pull()), { username: 'u', password: 'p' });
});

test('pull() trades an identity token for access tokens, again when one has run out, and sends a registry token as it is', async (t) => {
  if (!requireRoot(t)) return;
  let now = Date.UTC(2026, 0, 1);
  const forms: URLSearchParams[] = [];
  await using registry = await startBadRegistry(image, (incoming, response, host) => {
    if (incoming.url === '/token') {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        forms.push(new URLSearchParams(Buffer.concat(chunks).toString()));
        response.end(JSON.stringify({ access_token: `access-${forms.length}`, expires_in: 60 }));
      });
      return true;
    }
    const { authorization } = incoming.headers;
    if ([`Bearer access-${forms.length}`, 'Bearer given'].includes(authorization ?? '')) return false;
    const challenge = `Bearer realm="http://${host}/token",service="s"`;
    response.writeHead(401, { 'www-authenticate': challenge }).end();
    return true;
  });
  await using images = await openTestImages({ clock: { now: () => now, sleep: async () => undefined } });
  const pull = (auth: { identityToken: string } | { registryToken: string }): Promise<unknown> =>
    images.service.pull(`${registry.host}/a:1`, auth, { signal });
  await pull({ identityToken: 'refresh' });
  await pull({ identityToken: 'refresh' });
  assert.deepEqual(
    forms.map((form) => Object.fromEntries(form)),
    [
      {
        service: 's',
        scope: 'repository:a:pull',
        grant_type: 'refresh_token',
        refresh_token: 'refresh',
        client_id: 'windlass',
      },
    ],
  );
  now += 55_000;
  const before = registry.requests.length;
  await pull({ identityToken: 'refresh' });
  assert.equal(forms.length, 2, 'a token is not used in its last seconds');
  assert.equal(registry.requests[before]?.authorization, undefined);
  await pull({ registryToken: 'given' });
  assert.equal(forms.length, 2);
});

test('auth confusion: a token serves one repository and one user only', async (t) => {
  if (!requireRoot(t)) return;
  const tokenOf = (repository: string | null): string => `token-${repository?.split(':')[1]?.replace('/', '-')}`;
  await using registry = await startBadRegistry(image, ({ url = '', headers }, response, host) => {
    if (url.startsWith('/token')) {
      if (headers.authorization === undefined) response.writeHead(401).end();
      else response.end(JSON.stringify({ token: tokenOf(new URL(url, 'http://x').searchParams.get('scope')) }));
      return true;
    }
    const repository = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(url)?.[1] ?? '';
    if (headers.authorization === `Bearer ${tokenOf(`repository:${repository}:pull`)}`) return false;
    response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${host}/token"` }).end();
    return true;
  });
  await using images = await openTestImages();
  const auth = { username: 'u', password: 'p' };
  await images.service.pull(`${registry.host}/a/one:1`, auth, { signal });
  await images.service.pull(`${registry.host}/a/two:1`, auth, { signal });
  const sent = registry.requests.filter(({ url }) => url.startsWith('/v2/')).map(({ authorization }) => authorization);
  assert.ok(sent.includes('Bearer token-a-one') && sent.includes('Bearer token-a-two'));
  // The image is here already, but whoever has no credentials must not learn that.
  await assert.rejects(images.service.pull(`${registry.host}/a/one:1`, undefined, { signal }), {
    reason: 'Unauthorized',
  });
});

test('credential leaks (CVE-2020-15157): redirects and token servers of other hosts get no credentials', async (t) => {
  if (!requireRoot(t)) return;
  await using other = await startBadRegistry(image, ({ url = '' }, response) => {
    if (url.startsWith('/steal')) {
      response.end(image.blobs.get(image.layers[0]?.digest ?? image.manifest.digest));
      return true;
    }
    return false;
  });
  const auth = { username: 'user', password: 'secret' };
  const expected = `Basic ${Buffer.from('user:secret').toString('base64')}`;
  const redirecting: BadBehaviour = ({ url = '', headers }, response) => {
    if (headers.authorization !== expected) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return true;
    }
    if (!url.endsWith(layer)) return false;
    response.writeHead(307, { location: `http://${other.host}/steal` }).end();
    return true;
  };
  await withRegistry(t, redirecting, async (_, __, pull) => void (await pull()), auth);
  assert.ok(other.requests.length > 0);
  assert.ok(other.requests.every(({ authorization }) => authorization === undefined));

  for (const realm of ['http://registry.example.com/token', 'https://evil.example.org/token', 'ftp://x/', 'nonsense']) {
    const challenging: BadBehaviour = (_, response) => {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }).end();
      return true;
    };
    const use = async (_: TestImages, registry: BadRegistry, pull: () => Promise<unknown>): Promise<void> => {
      await assert.rejects(pull(), { message: /names (a|an) .*token server/ });
      assert.ok(registry.requests.every(({ authorization }) => authorization === undefined));
    };
    await withRegistry(t, challenging, use, auth);
  }
});

test('credential leaks: a mirror that asks for credentials gets none, and the registry itself answers', async (t) => {
  if (!requireRoot(t)) return;
  await using mirror = await startBadRegistry(image, (_, response) => {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="give"' }).end();
    return true;
  });
  await using registry = await startBadRegistry(image);
  const table = { [registry.host]: { mirrors: [`http://${mirror.host}`], tokenHosts: [] } };
  await using images = await openTestImages({ registries: { registries: table } });
  await images.service.pull(`${registry.host}/a/b:1`, { username: 'u', password: 'p' }, { signal });
  assert.ok(mirror.requests.length > 0);
  assert.ok(mirror.requests.every(({ authorization }) => authorization === undefined));
});

test('pull() goes on with Range where a blob was cut off, within one pull', async (t) => {
  let cuts = 0;
  const cutting: BadBehaviour = ({ url = '', headers }, response) => {
    if (!url.endsWith(layer) || cuts >= 2) return false;
    cuts += 1;
    const bytes = image.blobs.get(image.layers[0]?.digest ?? image.manifest.digest) as Buffer;
    const start = Number(/bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0);
    response.writeHead(start === 0 ? 200 : 206, {
      'content-length': bytes.length - start,
      ...(start === 0 ? {} : { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
    });
    response.write(bytes.subarray(start, start + 100_000), () => response.destroy());
    return true;
  };
  await withRegistry(t, cutting, async (_, registry, pull) => {
    await pull();
    const ranges = registry.requests.filter(({ url }) => url.endsWith(layer)).map(({ range }) => range);
    assert.equal(ranges.length, 3);
    assert.equal(ranges[0], undefined);
    assert.ok(ranges.slice(1).every((range) => /^bytes=[1-9]\d*-$/.test(range ?? '')));
  });
});

test('pull() resumes what a failed pull left, and starts again when that was damaged', async (t) => {
  if (!requireRoot(t)) return;
  let isCutting = true;
  const cutting: BadBehaviour = ({ url = '', headers }, response) => {
    if (!url.endsWith(layer) || !isCutting) return false;
    const bytes = image.blobs.get(image.layers[0]?.digest ?? image.manifest.digest) as Buffer;
    if (headers.range !== undefined) return (response.socket?.destroy(), true);
    response.writeHead(200, { 'content-length': bytes.length });
    response.write(bytes.subarray(0, 100_000), () => response.destroy());
    return true;
  };
  await using registry = await startBadRegistry(image, cutting);
  await using images = await openTestImages();
  const reference = `${registry.host}/a:1`;
  const partial = join(images.home, 'content/ingest', layer.replace(':', '-'));
  for (const isDamaged of [false, true]) {
    isCutting = true;
    await assert.rejects(images.service.pull(reference, undefined, { signal }), {
      reason: 'Unavailable',
      message: /was cut off at \d+ of \d+ bytes|cannot be reached/,
    });
    if (isDamaged) writeFileSync(partial, Buffer.alloc(readFileSync(partial).length, 1));
    isCutting = false;
    const seen = registry.requests.length;
    const service = await images.restart();
    await service.pull(reference, undefined, { signal });
    const ranges = registry.requests.slice(seen).filter(({ url }) => url.endsWith(layer));
    assert.match(ranges[0]?.range ?? '', /^bytes=[1-9]\d*-$/);
    assert.equal(ranges.length, isDamaged ? 2 : 1);
    await service.remove(reference);
  }
});

test('pull() ends on a registry that hangs, answers errors or redirects for ever', async (t) => {
  const cases: [BadBehaviour, RegExp][] = [
    [() => true, /cannot be reached: timed out/],
    [(_, response) => (response.writeHead(503).end(), true), /answered 503/],
    [(_, response) => (response.writeHead(302, { location: '/again' }).end(), true), /redirects more than 5 times/],
    [
      (_, response) => (response.writeHead(302, { location: 'file:///etc/passwd' }).end(), true),
      /redirects to an invalid address/,
    ],
    [(_, response) => (response.socket?.destroy(), true), /the connection was closed|ECONNRESET/],
  ];
  for (const [behaviour, message] of cases.slice(1)) {
    await withRegistry(t, behaviour, async (_, __, pull) => assert.rejects(pull(), { message }));
  }
  if (!requireRoot(t)) return;
  const [hang, message] = cases[0] as [BadBehaviour, RegExp];
  await using registry = await startBadRegistry(image, hang);
  await using images = await openTestImages({ timeoutMs: 100 });
  await assert.rejects(images.service.pull(`${registry.host}/a:1`, undefined, { signal }), { message });
});

test('pull() stops at once when its deadline passes', async (t) => {
  await withRegistry(
    t,
    () => true,
    async (images, registry) => {
      const deadline = AbortSignal.timeout(1);
      const pull = images.service.pull(`${registry.host}/a:1`, undefined, { signal: deadline });
      await assert.rejects(pull, { name: 'TimeoutError' });
    },
  );
});

test('manifest confusion, decompression bombs: pull() refuses a manifest over 4 MiB, a blob longer than its manifest says, and a wrong diff id', async (t) => {
  const huge: BadBehaviour = ({ url = '' }, response) => {
    if (!url.includes('/manifests/')) return false;
    response.end(JSON.stringify({ schemaVersion: 2, x: 'x'.repeat(5_000_000) }));
    return true;
  };
  await withRegistry(t, huge, async (_, __, pull) => {
    await assert.rejects(pull(), { reason: 'Invalid', message: /has more than 4194304 bytes/ });
  });
  const endless: BadBehaviour = ({ url = '' }, response) =>
    url.endsWith(layer) && (response.end(Buffer.alloc(1_000_000)), true);
  await withRegistry(t, endless, async (_, __, pull) => {
    await assert.rejects(pull(), { reason: 'Invalid', message: /has more than the \d+ bytes its manifest says/ });
  });
  const tar = makeTar([{ name: 'x', content: 'x' }]);
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [digestOf('not it')] } }),
  );
  const describe = (bytes: Buffer, mediaType: string) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      config: describe(config, MEDIA_TYPES.ociConfig),
      layers: [describe(tar, MEDIA_TYPES.ociLayer)],
    }),
  );
  const lying: BadBehaviour = ({ url = '' }, response) => {
    response.end(url.includes('/manifests/') ? manifest : url.endsWith(digestOf(config)) ? config : tar);
    return true;
  };
  await withRegistry(t, lying, async (images, _, pull) => {
    await assert.rejects(pull(), { reason: 'Invalid', message: /its tar has digest/ });
    assert.deepEqual(images.service.list(), []);
  });
});

test('credential leaks: the URLs of a foreign layer are never asked', async (t) => {
  if (!requireRoot(t)) return;
  await using elsewhere = await startBadRegistry(image);
  const foreign = {
    ...image.layers[0],
    mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
    urls: [`http://${elsewhere.host}/v2/x/blobs/${layer}`],
  };
  const manifest = JSON.stringify({ schemaVersion: 2, config: image.config, layers: [foreign] });
  let isThere = false;
  const behaviour: BadBehaviour = ({ url = '' }, response) => {
    if (url.includes('/manifests/')) {
      response.setHeader('content-type', MEDIA_TYPES.ociManifest);
      response.end(manifest);
      return true;
    }
    if (isThere || !url.endsWith(layer)) return false;
    response.writeHead(404).end('{}');
    return true;
  };
  const use = async (_: TestImages, __: BadRegistry, pull: () => Promise<unknown>): Promise<void> => {
    await assert.rejects(pull(), {
      reason: 'NotFound',
      message: new RegExp(`layer ${layer} is foreign .*not supported`),
    });
    assert.deepEqual(elsewhere.requests, []);
    isThere = true;
    await pull();
    assert.deepEqual(elsewhere.requests, []);
  };
  await withRegistry(t, behaviour, use, { username: 'u', password: 'p' });
});

test('pull() waits as long as a registry that limits requests asks for, and no longer than ten seconds', async (t) => {
  if (!requireRoot(t)) return;
  const answers = ['7', new Date(Date.UTC(2026, 0, 1) + 3000).toUTCString(), '3600', undefined];
  const slept: number[] = [];
  const clock = {
    now: () => Date.UTC(2026, 0, 1),
    sleep: async (ms: number) => void slept.push(ms),
  };
  await using registry = await startBadRegistry(image, (_, response) => {
    const retryAfter = answers.shift();
    if (retryAfter === undefined) return false;
    response.writeHead(slept.length === 0 ? 503 : 429, { 'retry-after': retryAfter }).end('{}');
    return true;
  });
  await using images = await openTestImages({ clock });
  await images.service.pull(`${registry.host}/a:1`, undefined, { signal });
  assert.deepEqual(slept, [7000, 3000, 10_000]);
});

test('pulls of different images at once fetch a layer they share once, and several layers at a time', async (t) => {
  if (!requireRoot(t)) return;
  const waiting: (() => void)[] = [];
  const two = makeImage({ layers: [[{ name: 'a', content: 'a' }], [{ name: 'b', content: 'b' }]] });
  const layers = two.layers.map(({ digest }) => digest);
  await using registry = await startBadRegistry(two, ({ url = '' }, response) => {
    const digest = layers.find((one) => url.endsWith(one));
    if (digest === undefined) return false;
    waiting.push(() => response.end(two.blobs.get(digest)));
    // Nobody is served before both layers were asked for.
    if (waiting.length === 2) for (const serve of waiting) serve();
    return true;
  });
  await using images = await openTestImages();
  const pulls = ['a:1', 'b:1', 'b:2'].map((name) =>
    images.service.pull(`${registry.host}/${name}`, undefined, { signal }),
  );
  assert.deepEqual(
    (await Promise.all(pulls)).map(({ id }) => id),
    pulls.map(() => two.config.digest),
  );
  for (const digest of layers) {
    assert.equal(registry.requests.filter(({ url }) => url.endsWith(digest)).length, 1, digest);
  }
});
