// Whole builds on a live shim: what is cached and what is not, what a failure leaves, what is made of a Dockerfile.
import assert from 'node:assert/strict';
import { chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { readMounts } from '../../../runtime-shim/host/mount.ts';
import { buildImage, cachedSteps, configOf, mustBuild } from '../../support/builds.ts';
import { startLiveRegistry } from '../../support/live-registry.ts';
import { requireFeature, requirePrograms, requireRoot } from '../../support/require.ts';
import { BUSYBOX, startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

let started: TestShim | undefined;
before(async () => {
  if (process.getuid?.() === 0) started = await startTestShim();
});
after(async () => started?.[Symbol.asyncDispose]());

function live(t: TestContext): TestShim | undefined {
  return requireRoot(t) && requirePrograms(t, 'conmon', 'runc') ? started : undefined;
}

function makeContext(t: TestContext, files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-build-context-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

/** Output of a command in a new container of an image. */
async function runIn(shim: TestShim, image: string, ...args: string[]): Promise<string> {
  const sandbox = await shim.runSandbox(`run-${image.replaceAll(/[^a-z0-9]/g, '-').slice(0, 40)}`);
  try {
    const id = await shim.create(sandbox, { image: { image }, ...(args.length > 0 ? { command: args } : {}) });
    await shim.cri.runtime.startContainer({ containerId: id });
    await shim.waitForExit(id);
    return (await shim.readLog(id)).join('\n');
  } finally {
    await shim.cri.runtime.removePodSandbox({ podSandboxId: sandbox });
  }
}

/** What builds have on the host beside images and caches. */
function leftOvers({ instance }: TestShim): string[] {
  return [
    ...readdirSync(join(paths.snapshots(instance), 'builds')),
    ...readMounts()
      .map(({ target }) => target)
      .filter((target) => target.startsWith(join(paths.snapshots(instance), 'builds'))),
  ];
}

const DOCKERFILE = `FROM ${BUSYBOX}
ENV GREETING=hello
COPY early.txt /srv/
RUN cat /srv/early.txt > /srv/early.copy
COPY late.txt /srv/
RUN echo "$GREETING $(cat /srv/late.txt)" > /srv/greeting
CMD ["cat", "/srv/greeting"]
`;

test('an image is built, named and run', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const reference = 'windlass.local/greeting:1';
  const { image, log, step } = await mustBuild(shim, {
    inlineFiles: { Dockerfile: DOCKERFILE, 'early.txt': 'early', 'late.txt': 'world' },
    references: [reference],
    labels: { team: 'shop' },
  });
  assert.equal(await runIn(shim, reference), 'hello world');
  const config = await configOf(shim, reference);
  assert.deepEqual(config.config.Cmd, ['cat', '/srv/greeting']);
  assert.deepEqual(config.config.Labels, { team: 'shop' });
  assert.equal(config.rootfs.diff_ids.length, 5);
  assert.equal((await shim.cri.node.inspectImage({ image: reference })).imageId, image.imageId);
  assert.ok(
    log.some((line) => /^#\d+ \[\d\/7\] RUN cat/.test(line)),
    log.join('\n'),
  );
  assert.equal(step.split(' ')[0], '7/7');
  assert.deepEqual(leftOvers(shim), []);
});

test('layer cache: a changed file invalidates from there on and nothing before', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const hostPath = makeContext(t, { Dockerfile: DOCKERFILE, 'early.txt': 'e1', 'late.txt': 'l1' });
  const first = await mustBuild(shim, { hostPath });
  const again = await mustBuild(shim, { hostPath });
  assert.equal(again.image.digest, first.image.digest);
  assert.equal(again.image.cachedSteps, 4);
  // Neither a time nor a file that nothing copies counts.
  utimesSync(join(hostPath, 'late.txt'), 1, 1);
  writeFileSync(join(hostPath, 'unused.txt'), 'x');
  assert.equal((await mustBuild(shim, { hostPath })).image.cachedSteps, 4);
  writeFileSync(join(hostPath, 'late.txt'), 'l2');
  const later = await mustBuild(shim, { hostPath });
  assert.deepEqual(
    cachedSteps(later.log).map((text) => text.split(' ').slice(0, 2).join(' ')),
    ['COPY early.txt', 'RUN cat'],
  );
  assert.notEqual(later.image.digest, first.image.digest);
  assert.equal((await mustBuild(shim, { hostPath, noCache: true })).image.cachedSteps, 0);
});

test('layer cache: others with the same first steps share them; an argument counts where it is used', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const build = (last: string, args = {}) =>
    mustBuild(shim, {
      inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\nRUN echo shared >/shared\nARG V=1\nRUN ${last}\n` },
      args,
    });
  await build('echo a$V >/own');
  assert.equal((await build('echo b >/own')).image.cachedSteps, 1);
  assert.equal((await build('echo a$V >/own')).image.cachedSteps, 2);
  assert.equal((await build('echo a$V >/own', { V: '2' })).image.cachedSteps, 1);
});

test('reproducible: the same inputs give the same digest, without the cache too', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const inlineFiles = {
    Dockerfile: `FROM ${BUSYBOX} AS build\nWORKDIR /out\nCOPY . .\nRUN date >/dev/null; echo x >b; mkdir c; rm -rf /bin/vi\n
FROM ${BUSYBOX}\nCOPY --from=build /out /out\nRUN ln /out/b /out/hard && ln -s b /out/soft\n`,
    a: 'a',
  };
  const first = await mustBuild(shim, { inlineFiles, noCache: true });
  const second = await mustBuild(shim, { inlineFiles, noCache: true });
  assert.equal(second.image.digest, first.image.digest);
  const dated = await mustBuild(shim, { inlineFiles, args: { SOURCE_DATE_EPOCH: '1700000000' } });
  assert.equal(dated.image.cachedSteps, 0);
  assert.equal((await configOf(shim, dated.image.imageId)).created, '2023-11-14T22:13:20Z');
});

test('stages: unused ones are skipped, independent ones are built at the same time', async (t) => {
  const shim = live(t);
  if (!shim) return;
  // Each waits for the other: one after the other they would never end.
  const wait = (own: string, other: string) =>
    `--mount=type=cache,id=meet,target=/meet touch /meet/${own} /${own}; while [ ! -e /meet/${other} ]; do sleep 0.05; done`;
  const { log } = await mustBuild(shim, {
    inlineFiles: {
      Dockerfile: `FROM ${BUSYBOX} AS one\nRUN ${wait('one', 'two')}\nFROM ${BUSYBOX} AS two\nRUN ${wait('two', 'one')}
FROM ${BUSYBOX} AS unused\nRUN exit 1\nFROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n`,
    },
  });
  assert.ok(!log.some((line) => line.includes('unused')));
});

test('a command that fails is told with its place, its output and its exit code; nothing is left of it', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const { failure, image, log } = await buildImage(shim, {
    inlineFiles: { 'app.dockerfile': `FROM ${BUSYBOX}\n\n# comment\nRUN echo out; echo err >&2; exit 7\n` },
    dockerfile: 'app.dockerfile',
  });
  assert.equal(image, undefined);
  assert.equal(failure?.file, 'app.dockerfile');
  assert.equal(failure?.line, 4);
  assert.equal(failure?.column, 1);
  assert.equal(failure?.isFinal, true);
  assert.match(failure?.message ?? '', /^app\.dockerfile:4:1: RUN echo out.*\b7\b/s);
  assert.match(failure?.message ?? '', /err/);
  assert.deepEqual([failure?.reason, failure?.output], ['Invalid', ['out', 'err']]);
  assert.ok(log.some((line) => line.endsWith(' out')));
  assert.deepEqual(leftOvers(shim), []);
});

test('a build without a secret that it requires fails for good, and says so in a word', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const run = 'RUN --mount=type=secret,id=npm,required=true true';
  const { failure } = await buildImage(shim, { inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\n${run}\n` } });
  assert.deepEqual([failure?.reason, failure?.isFinal, failure?.output], ['SecretNotFound', true, []]);
  assert.match(failure?.message ?? '', /^Dockerfile:2:1: RUN .*: the build was given no secret "npm"$/);
});

test('what is wrong with a Dockerfile or a context is told by its place', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const messages = await Promise.all(
    [
      { inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\nCPOY a b\n` } },
      { inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\nCOPY absent /\n` } },
      { inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\nCOPY ../../etc/passwd /\n` } },
      { inlineFiles: { other: '' } },
      { hostPath: '/nonexistent/windlass' },
      { inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\n` }, target: 'absent' },
      { inlineFiles: { Dockerfile: 'FROM scratch\nRUN true\n' } },
      { inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\n` }, platform: 'plan9/mips' },
    ].map(async (request) => (await buildImage(shim, request)).failure?.message),
  );
  const wanted = [/^Dockerfile:2:1: .*CPOY/, /^Dockerfile:2:1: .*absent/, /^Dockerfile:2:1: /, /Dockerfile/];
  const more = [/nonexistent/, /absent/, /^Dockerfile:2:1: .*\/bin\/sh/, /plan9/];
  for (const [index, pattern] of [...wanted, ...more].entries()) assert.match(messages[index] ?? '', pattern);
});

test('a build that is given up ends at once with its commands, and can be built again', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const request = { id: 'given-up', inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\nRUN echo going; sleep 1000\n` } };
  const stop = new AbortController();
  const onLog = (log: string): void => {
    if (/ going$/m.test(log)) stop.abort();
  };
  await assert.rejects(buildImage(shim, request, { signal: stop.signal, onLog }));
  await waitFor(() => leftOvers(shim).length === 0, { what: 'nothing left of the build' });
  await mustBuild(shim, { id: 'given-up', inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\nRUN echo again\n` } });
});

test('builds survive the end of the process: what it left is gone, and they start over', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const request = { inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\nRUN echo made >/made\nRUN echo going; sleep 30\n` } };
  const { promise: going, resolve } = Promise.withResolvers<void>();
  const building = buildImage(shim, request, { onLog: (log) => / going$/m.test(log) && resolve() });
  const ended = assert.rejects(building);
  await going;
  await shim.kill();
  await ended;
  await shim.start();
  assert.deepEqual(leftOvers(shim), []);
  const again = await mustBuild(shim, {
    inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\nRUN echo made >/made\nRUN echo done\n` },
  });
  assert.deepEqual(cachedSteps(again.log), ['RUN echo made >/made']);
});

test('the cache is counted, pruned, and kept from garbage collection', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const inlineFiles = { Dockerfile: `FROM ${BUSYBOX}\nRUN echo pruned >/pruned\n` };
  const { image } = await mustBuild(shim, { inlineFiles });
  await shim.cri.images.removeImage({ image: { image: image.imageId } });
  assert.equal((await mustBuild(shim, { inlineFiles })).image.cachedSteps, 1);
  const { entries, sizeBytes } = await shim.cri.node.buildCache({});
  assert.ok(entries > 0 && sizeBytes > 0);
  const pruned = await shim.cri.node.buildCache({ prune: true, keepBytes: 0 });
  assert.equal(pruned.freedBytes, sizeBytes);
  assert.equal(pruned.sizeBytes, 0);
  await shim.cri.images.removeImage({ image: { image: image.imageId } });
  assert.equal((await mustBuild(shim, { inlineFiles })).image.cachedSteps, 0);
});

test('a cache is left at a registry and used from there; one that cannot be read is told of', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const registry = await startLiveRegistry(t);
  const cacheTo = `${registry.host}/shop/cache:1`;
  const inlineFiles = { Dockerfile: `FROM ${BUSYBOX}\nRUN echo far >/far\nRUN rm /far; echo near >/near\n` };
  const first = await mustBuild(shim, { inlineFiles, cacheTo });
  await shim.cri.images.removeImage({ image: { image: first.image.imageId } });
  await shim.cri.node.buildCache({ prune: true, keepBytes: 0 });
  const absent = `${registry.host}/shop/absent:1`;
  const again = await mustBuild(shim, { inlineFiles, cacheFrom: [absent, cacheTo] });
  assert.equal(again.image.cachedSteps, 2);
  assert.equal(again.image.digest, first.image.digest);
  assert.ok(again.log.some((line) => line.startsWith(`cache ${absent} is not used: `)));
  assert.equal(await runIn(shim, again.image.imageId, 'cat', '/near'), 'near');
});

test('a bind mount shows the context as a COPY takes it: owned by root, without what is ignored', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const Dockerfile = `FROM ${BUSYBOX}\nRUN --mount=type=bind,target=/c ls -ln /c >/out\n`;
  const hostPath = makeContext(t, { Dockerfile, mine: '1' });
  chownSync(join(hostPath, 'mine'), 1234, 1234);
  const { image } = await mustBuild(shim, { hostPath });
  assert.match(await runIn(shim, image.imageId, 'cat', '/out'), / 0 +0 .* mine$/);
  chownSync(join(hostPath, 'mine'), 4321, 4321);
  assert.equal((await mustBuild(shim, { hostPath })).image.digest, image.digest);
});

test('a cache that is pruned while a build goes on takes nothing from it', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const first = `FROM ${BUSYBOX}\nRUN mkdir /data && echo kept >/data/file\n`;
  const { image } = await mustBuild(shim, { inlineFiles: { Dockerfile: first } });
  await shim.cri.images.removeImage({ image: { image: image.imageId } });
  let pruned: Promise<unknown> | undefined;
  const going = `RUN --mount=type=tmpfs,target=/t echo going; sleep 1; cat /data/file >/copy\nRUN cat /data/file\n`;
  const outcome = await buildImage(
    shim,
    { inlineFiles: { Dockerfile: first + going } },
    {
      onLog: (log) =>
        void (/ going$/m.test(log) && (pruned ??= shim.cri.node.buildCache({ prune: true, keepBytes: 0 }))),
    },
  );
  assert.equal(outcome.failure, undefined);
  assert.ok(await pruned);
  assert.equal(await runIn(shim, outcome.image?.imageId ?? '', 'cat', '/copy'), 'kept');
});

test('more layers than can be mounted are refused by their number', async (t) => {
  const isLong = process.env['WINDLASS_LONG'] === '1';
  const shim = requireFeature(t, isLong, 'takes minutes: npm run test:long') ? live(t) : undefined;
  if (!shim) return;
  const copies = Array.from({ length: 500 }, (_, index) => `COPY <<E /f\n${index}\nE\n`).join('');
  const { failure } = await buildImage(shim, { inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\n${copies}` } });
  assert.match(failure?.message ?? '', /^Dockerfile:\d+:1: .*the stage has 499 layers/s);
});

test('what is collected while builds end takes nothing of theirs', async (t) => {
  const shim = live(t);
  if (!shim) return;
  let isOver = false;
  const collecting = (async () => {
    while (!isOver) await shim.cri.node.keepBlobs({ digests: [] });
  })();
  const names = Array.from({ length: 12 }, (_, index) => `windlass.local/collected-${index}:1`);
  try {
    await Promise.all(
      names.map((name, index) =>
        mustBuild(shim, { inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\nENV N=${index}\n` }, references: [name] }),
      ),
    );
  } finally {
    isOver = true;
    await collecting;
  }
  await shim.kill();
  await shim.start();
  for (const [index, name] of names.entries()) {
    assert.ok((await configOf(shim, name)).config.Env?.includes(`N=${index}`), name);
  }
});

test('a file from the far future dates its image to the last time that can be written', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const hostPath = makeContext(t, { Dockerfile: `FROM ${BUSYBOX}\nCOPY late /\n`, late: '1' });
  utimesSync(join(hostPath, 'late'), 15_000_000_000, 15_000_000_000);
  const { image } = await mustBuild(shim, { hostPath });
  assert.match((await configOf(shim, image.imageId)).created ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

test('whether a command had a network is a part of what its layer depends on', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const inlineFiles = { Dockerfile: `FROM ${BUSYBOX}\nRUN ls /sys/class/net >/links\n` };
  await mustBuild(shim, { inlineFiles });
  const { image } = await mustBuild(shim, { inlineFiles, network: 'default' });
  assert.equal(image.cachedSteps, 0);
  assert.match(await runIn(shim, image.imageId, 'cat', '/links'), /eth0/);
});
