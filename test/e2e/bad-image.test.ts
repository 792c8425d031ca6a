// Images that lie, attack or do not fit: each is refused by name, and nothing outside its place is touched.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { importBusybox } from '../support/busybox.ts';
import { applyContainer, deleteContainers, readyOf, runToEnd, waitForStatus } from '../support/containers.ts';
import { busyboxFiles, makeImage, writeTar } from '../support/images.ts';
import { createInstance, runCommand, startInstance, type TestInstance } from '../support/instance.ts';
import { startBadRegistry } from '../support/registry.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const PROGRAMS = ['etcd', 'runc', 'conmon', 'nft', 'kubectl'];

test('images that cannot be trusted', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, ...PROGRAMS)) return;
  const instance = await startInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  await importBusybox(instance);
  const isFailing = (name: string, message: RegExp) =>
    waitForStatus(instance, name, (status) => {
      const ready = readyOf(status);
      return /Image|Pull/.test(ready?.reason ?? '') && message.test(ready?.message ?? '');
    });

  await t.test('a registry that answers other bytes than the digest says', async () => {
    const image = makeImage();
    const [layer] = image.layers;
    await using registry = await startBadRegistry(image, (request, response) => {
      if (!request.url?.endsWith(String(layer?.digest))) return false;
      response.end(Buffer.alloc(layer?.size ?? 0, 'x'));
      return true;
    });
    await applyContainer(instance, 'liar', { image: `${registry.host}/liar:1` });
    await isFailing('liar', new RegExp(`digest[\\s\\S]*${layer?.digest}|${layer?.digest}[\\s\\S]*digest`));
    await deleteContainers(instance, 'liar');
  });

  await t.test('a manifest other than the digest that was asked for', async () => {
    await using registry = await startBadRegistry(makeImage());
    const wanted = `sha256:${'1'.repeat(64)}`;
    await applyContainer(instance, 'other', { image: `${registry.host}/other@${wanted}` });
    await isFailing('other', new RegExp(wanted));
    await deleteContainers(instance, 'other');
  });

  for (const [what, items] of [
    ['a layer that climbs out of its root', [{ name: '../../../../../../../../tmp/windlass-climbed', content: 'x' }]],
    [
      'a layer that writes through a link out of its root',
      [
        { name: 'way', type: 'symlink', linkName: '/tmp' },
        { name: 'way/windlass-climbed', content: 'x' },
      ],
    ],
  ] as const) {
    await t.test(what, async () => {
      assert.equal(existsSync('/tmp/windlass-climbed'), false);
      const image = makeImage({ layers: [busyboxFiles(), [...items]], config: { Cmd: ['true'] } });
      await using registry = await startBadRegistry(image);
      await applyContainer(instance, 'climber', { image: `${registry.host}/climber:1`, restartPolicy: 'Never' });
      // Refused, or kept inside: what counts is that the host is as it was.
      await waitForStatus(
        instance,
        'climber',
        (status) => status.phase === 'Succeeded' || /climbed|way/.test(readyOf(status)?.message ?? ''),
      );
      assert.equal(existsSync('/tmp/windlass-climbed'), false);
      await deleteContainers(instance, 'climber');
    });
  }

  await t.test('a mount path that is a link out of the root stays inside the container', async () => {
    const outside = mkdtempSync(join(tmpdir(), 'windlass-outside-'));
    t.after(() => rmSync(outside, { recursive: true, force: true }));
    const climb = '../'.repeat(12);
    const image = makeImage({
      layers: [
        busyboxFiles(),
        [
          { name: 'absolute', type: 'symlink', linkName: outside },
          { name: 'relative', type: 'symlink', linkName: `${climb}${outside.slice(1)}` },
        ],
      ],
      config: { Env: ['PATH=/bin'] },
    });
    await using registry = await startBadRegistry(image);
    await instance.apply('{ apiVersion: windlass.dev/v1, kind: Volume, metadata: { name: inside }, spec: {} }');
    for (const mountPath of ['/absolute', '/relative']) {
      const { output, status } = await runToEnd(instance, 'linked', {
        image: `${registry.host}/linked:1`,
        command: ['sh', '-c', `echo written >${mountPath}/file && cat ${outside}/file`],
        mounts: [{ mountPath, volume: 'inside' }],
      });
      assert.equal(output, 'written\n', JSON.stringify(status));
      assert.deepEqual(readdirSync(outside), []);
      await deleteContainers(instance, 'linked');
    }
    await instance.kubectlOk(['delete', 'vol', 'inside', '--timeout=30s']);
  });
});

test('no space left', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, ...PROGRAMS, 'mount', 'umount')) return;
  const instance = await startInSmallHome(t, '400m');
  const { kubectl, kubectlOk } = instance;
  await importBusybox(instance);
  const big = join(instance.home, '..', 'big.tar');
  writeTar(big, [...busyboxFiles(), { name: 'zeros', content: Buffer.alloc(300 * 2 ** 20) }]);

  await t.test('an image that does not fit says so', async () => {
    await instance.apply(
      `{ apiVersion: windlass.dev/v1, kind: Image, metadata: { name: big }, spec: { import: { hostPath: ${big} } } }`,
    );
    const read = () => kubectlOk(['get', 'img', 'big', '-o', 'jsonpath={.status.conditions}']);
    await waitFor(async () => /no space left/i.test(await read()), { timeoutMs: 60_000, what: 'the reason' });
  });

  await t.test('the rest goes on meanwhile', async () => {
    await instance.apply('{ apiVersion: v1, kind: ConfigMap, metadata: { name: still }, data: { here: "yes" } }');
    const { output } = await runToEnd(instance, 'small', { command: ['echo', 'alive'] });
    assert.equal(output, 'alive\n');
    await deleteContainers(instance, 'small');
    await kubectlOk(['delete', 'img', 'big', '--timeout=30s']);
  });

  await t.test('a disk that is full to the last byte stops writes, and heals when there is room', async () => {
    const junk = join(instance.home, 'junk');
    // Again before each try: what was deleted before may still be giving its space back.
    const fill = () => runCommand('dd', ['if=/dev/zero', `of=${junk}`, 'bs=64k', 'oflag=append', 'conv=notrunc']);
    const create = (index: number) =>
      kubectl(['create', 'cm', `full-${index}`, `--from-literal=x=${'y'.repeat(100_000)}`]);
    let failure = '';
    for (let index = 0; index < 200 && failure === ''; index += 1) {
      await fill();
      failure = (await create(index)).stderr;
    }
    assert.match(failure, /unavailable|no space/i);
    rmSync(junk);
    await waitFor(async () => (await kubectl(['create', 'cm', 'room', '--from-literal=a=b'])).code === 0, {
      timeoutMs: 60_000,
      intervalMs: 500,
      what: 'writes to go on',
    });
    const { output } = await runToEnd(instance, 'after', { command: ['echo', 'alive'] });
    assert.equal(output, 'alive\n');
  });
});

/** A running instance whose state folder is a file system of `size`. */
async function startInSmallHome(t: TestContext, size: string): Promise<TestInstance> {
  const instance = await createInstance();
  mkdirSync(instance.home);
  const mounted = await runCommand('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', instance.home]);
  assert.equal(mounted.code, 0, mounted.stderr);
  t.after(async () => {
    await instance.windlass(['down']);
    await runCommand('umount', ['--lazy', instance.home]);
    await instance[Symbol.asyncDispose]();
  });
  await instance.up();
  return instance;
}
