import assert from 'node:assert/strict';
import { test } from 'node:test';
import { neededFor, unusedArgs } from '../../../../builder/stages/plan-stages.ts';
import { amd64, build, failure, plan, rules } from '../build-stages.ts';

const arm64 = { os: 'linux', architecture: 'arm64' };

/** Base of each stage, in short. */
function bases(...args: Parameters<typeof plan>): string[] {
  return plan(...args).stages.map(({ base }) => {
    if (base.kind === 'image') return base.reference;
    return base.kind === 'stage' ? `stage ${base.index}` : base.kind;
  });
}

test('planStages() resolves bases: images, earlier stages in any case, and scratch', () => {
  assert.deepEqual(bases('FROM a:1 AS one\nFROM One AS two\nFROM scratch\nFROM two'), [
    'docker.io/library/a:1',
    'stage 0',
    'scratch',
    'stage 1',
  ]);
  // A stage may have the name of the image that it is made from, or that an earlier one is.
  assert.deepEqual(bases('FROM node AS node\nFROM node\nFROM go\nFROM x AS go'), [
    'docker.io/library/node:latest',
    'stage 0',
    'docker.io/library/go:latest',
    'docker.io/library/x:latest',
  ]);
});

test('planStages() gives FROM lines the global ARGs: asked for, by default, from one another', () => {
  const text = 'ARG V=1\nARG NAME=base-$V\nARG REGISTRY\nFROM ${REGISTRY:-r.example}/${NAME%-*}:$V\n';
  assert.deepEqual(bases(text), ['r.example/base:1']);
  assert.deepEqual(bases(text, { args: { V: '2', REGISTRY: 'q.example' } }), ['q.example/base:2']);
  assert.match(failure('ARG A\nFROM $A'), /^Dockerfile:2:1: the base "\$A" is empty once it is expanded$/);
  assert.match(failure('FROM a\nARG B=b\nFROM $B'), /^Dockerfile:3:1: the base "\$B" is empty/);
  assert.match(failure('ARG A=${\nFROM a'), /^Dockerfile:1:1: cannot expand "\$\{": missing \}$/);
  assert.match(failure('ARG A=Bad/NAME\nFROM $A'), /^Dockerfile:2:1: invalid reference .*lower-case$/);
  assert.match(failure('FROM ${A:?which}'), /^Dockerfile:1:1: cannot expand .*: A: which$/);
});

test('planStages() predefines the platforms, which arguments of the build override', () => {
  const { globals } = plan('FROM a AS x', { targetPlatform: { os: 'linux', architecture: 'arm', variant: 'v7' } });
  assert.deepEqual(Object.fromEntries(globals), {
    BUILDPLATFORM: 'linux/amd64',
    BUILDOS: 'linux',
    BUILDOSVERSION: '',
    BUILDARCH: 'amd64',
    BUILDVARIANT: '',
    TARGETPLATFORM: 'linux/arm/v7',
    TARGETOS: 'linux',
    TARGETOSVERSION: '',
    TARGETARCH: 'arm',
    TARGETVARIANT: 'v7',
    TARGETSTAGE: 'x',
  });
  assert.deepEqual(bases('FROM a:$TARGETARCH', { args: { TARGETARCH: 'other' } }), ['docker.io/library/a:other']);
});

test('planStages() finds the platform of each stage', () => {
  const text =
    'FROM --platform=$BUILDPLATFORM a AS tools\nFROM tools AS more\nFROM b\nFROM --platform=linux/arm/v6 c\nFROM scratch';
  const { stages } = plan(text, { targetPlatform: arm64 });
  assert.deepEqual(
    stages.map(({ platform }) => platform),
    [amd64, amd64, arm64, { os: 'linux', architecture: 'arm', variant: 'v6' }, arm64],
  );
  const named: Readonly<Record<string, unknown>> = {
    amd64: amd64,
    'linux/x86_64': amd64,
    'linux/amd64/v1': amd64,
    'linux/amd64/v3': { ...amd64, variant: 'v3' },
    'linux/aarch64': arm64,
    'linux/arm64/v8': arm64,
    'linux/arm': { os: 'linux', architecture: 'arm', variant: 'v7' },
    'linux/armel': { os: 'linux', architecture: 'arm', variant: 'v6' },
    'linux/constructor': { os: 'linux', architecture: 'constructor' },
  };
  for (const [name, platform] of Object.entries(named)) {
    assert.deepEqual(plan(`FROM --platform=${name} a`).stages[0]?.platform, platform, name);
  }
  assert.match(
    failure('FROM --platform=windows/amd64 a'),
    /^Dockerfile:1:1: platform "windows\/amd64" is not supported/,
  );
  assert.match(failure('FROM --platform=a/b/c/d a'), /is not OS\/ARCHITECTURE/);
  assert.match(failure('FROM --platform=$NONE a'), /--platform=\$NONE is empty once it is expanded$/);
});

test('planStages() builds what the target needs, and nothing else', () => {
  const text = [
    'FROM a AS base',
    'FROM base AS unused',
    'FROM b AS tools',
    'FROM c AS assets',
    'COPY --from=img:1 /x /x',
    'FROM base AS app',
    'COPY --from=assets /x /x',
    'RUN --mount=from=tools,target=/t --mount=type=cache,target=/c --mount=target=/src make',
    'COPY --from=3 /y /y',
    'FROM app AS last',
  ].join('\n');
  const planned = plan(text);
  assert.deepEqual([planned.target, planned.needed], [5, [0, 2, 3, 4, 5]]);
  assert.deepEqual(
    planned.stages.map(({ needs }) => needs),
    [
      { stages: [], images: [], context: false },
      { stages: [], images: [], context: false },
      { stages: [], images: [], context: false },
      { stages: [], images: ['docker.io/library/img:1'], context: false },
      { stages: [2, 3], images: [], context: true },
      { stages: [], images: [], context: false },
    ],
  );
  assert.deepEqual(plan(text, { target: 'ASSETS' }).needed, [3]);
  assert.deepEqual(plan(text, { target: '1' }).needed, [0, 1]);
  assert.deepEqual(neededFor(1, planned.stages, new Map([[1, [3]]])), [0, 1, 3]);
});

test('planStages() tells whether the build context is read', () => {
  const reads = (line: string) => plan(`FROM a\n${line}`).stages[0]?.needs.context;
  assert.deepEqual(
    ['COPY a /b', 'ADD a /b', 'ADD $URL /b', 'RUN --mount=target=/a x', 'RUN --mount=type=$T,target=/a x'].map(reads),
    [true, true, true, true, true],
  );
  assert.deepEqual(
    [
      'RUN x',
      'COPY <<E /b\nE',
      'ADD https://a.example/b /c',
      'ADD git@a.example:b.git /c',
      'COPY --from=i a b',
      'RUN --mount=type=tmpfs,target=/a x',
    ].map(reads),
    [false, false, false, false, false, false],
  );
});

test('planStages() counts the triggers of a base stage among the needs of those built on it', () => {
  const planned = plan('FROM a AS files\nFROM b AS base\nONBUILD COPY --from=files /x /x\nFROM base');
  assert.deepEqual(
    planned.stages.map(({ needs }) => needs.stages),
    [[], [], [0]],
  );
  assert.deepEqual(planned.needed, [0, 1, 2]);
});

test('planStages() refuses circles, later stages, numbers that no stage has, and variables', () => {
  const cases: Readonly<Record<string, string>> = {
    'FROM a AS x\nCOPY --from=x /a /b': '2:1: --from=x: stage x cannot take files from itself',
    'FROM a AS x\nCOPY --from=0 /a /b': '2:1: --from=0: stage 0 cannot take files from itself',
    'FROM a AS x\nCOPY --from=Y /a /b\nFROM b AS y\nCOPY --from=x /a /b':
      '2:1: --from=Y: stage Y comes later in the file: files are taken from earlier stages only',
    'FROM a\nCOPY --from=3 /a /b\nFROM b':
      '2:1: --from=3: there is no stage 3: the file has no named stage, only stages 0 to 1',
    'FROM a\nRUN --mount=from=y,target=/m x\nFROM b AS y':
      '2:1: --mount=from=y,target=/m: stage y comes later in the file: files are taken from earlier stages only',
    'FROM a\nARG S\nCOPY --from=$S /a /b':
      '3:1: --from=$S: from takes no variables, "$S" does: give the image a stage of its own (FROM $S AS ...)',
    'FROM a\nCOPY --from= /a /b': '2:1: --from=: from must not be empty',
    'FROM a\nCOPY --from=scratch /a /b': '2:1: --from=scratch: scratch has no files',
    'FROM a\nONBUILD COPY --from=b /a /b\nFROM x\nFROM a AS b': '',
  };
  const found = Object.keys(cases).map((text) => [text, failure(text).replace('Dockerfile:', '')]);
  assert.deepEqual(Object.fromEntries(found), cases);
});

test('planStages() names the stages there are when the target is none of them', () => {
  assert.equal(
    failure('FROM a AS build\nFROM b\nFROM c AS test', { target: 'biuld' }),
    'Dockerfile: there is no stage "biuld": did you mean build?; the file has build (0), 1, test (2)',
  );
  assert.equal(
    failure('FROM a', { target: '1' }),
    'Dockerfile: there is no stage "1"; the file has no named stage, only stage 0',
  );
});

test('planStages() warns of FROM lines that depend on what is not there', () => {
  assert.deepEqual(rules('FROM a:${VERSON:-1}$VERSION'), ['UndefinedArgInFrom']);
  assert.deepEqual(rules('ARG V\nFROM a:$V', { args: { V: '1' } }), ['InvalidDefaultArgInFrom']);
  assert.deepEqual(rules('FROM --platform=$TARGETPLATFORM a'), ['RedundantTargetPlatform']);
  assert.deepEqual(rules('FROM --platform=linux/arm64 a'), ['FromPlatformFlagConstDisallowed']);
  assert.deepEqual(rules('FROM --platform=linux/arm64 a AS arm64-tools'), []);
  assert.deepEqual(rules('FROM a AS x\nFROM --platform=linux/arm64 x'), [
    'FromPlatformFlagConstDisallowed',
    'PlatformOfStage',
  ]);
  assert.throws(
    () => plan('# check=error=true\nARG V\nFROM a:$V', { args: { V: '1' } }),
    /^.*Dockerfile:3:1: .*InvalidDefaultArgInFrom/,
  );
});

test('unusedArgs() warns of arguments that no ARG declares', () => {
  const text = 'ARG G\nFROM a AS skipped\nARG S\nFROM a\nARG USED';
  const args = {
    G: '',
    S: '',
    USED: '',
    USD: '',
    HTTP_PROXY: '',
    no_proxy: '',
    TARGETARCH: '',
    SOURCE_DATE_EPOCH: '0',
  };
  const { plan: planned, states } = build(text, { args });
  assert.deepEqual(
    unusedArgs(planned, states).map(({ rule, message }) => [rule, message]),
    [
      ['UnusedBuildArg', 'argument S is used nowhere: no ARG declares it'],
      ['UnusedBuildArg', 'argument USD is used nowhere: no ARG declares it, did you mean USED?'],
    ],
  );
});

test('planStages() refuses arguments that no environment can have', () => {
  const cases: Readonly<Record<string, string>> = {
    'A=B': 'bad name',
    '': 'bad name',
    A: 'its value has a NUL character',
  };
  for (const [name, problem] of Object.entries(cases)) {
    assert.equal(failure('FROM a', { args: { [name]: '\0' } }), `build argument ${JSON.stringify(name)}: ${problem}`);
  }
});

test('planStages() takes proxies in both cases that programs look for', () => {
  assert.deepEqual(plan('FROM a', { args: { HTTP_PROXY: 'p', no_proxy: 'n', NO_PROXY: 'N', OTHER: 'x' } }).proxyEnv, [
    'HTTP_PROXY=p',
    'NO_PROXY=N',
    'http_proxy=p',
    'no_proxy=n',
  ]);
});
