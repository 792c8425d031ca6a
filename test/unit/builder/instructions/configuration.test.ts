// Instructions that change the image's configuration alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build, failure, lastStep, rules } from '../build-stages.ts';

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Configuration of an image from scratch, less what every one has. */
function config(lines: string, args: Readonly<Record<string, string>> = {}) {
  const { Env = [], WorkingDir, ...others } = build(`FROM scratch\n${lines}`, { args }).state.config;
  assert.deepEqual([Env[0], WorkingDir], [PATH, '/']);
  return Env.length > 1 ? { ...others, Env: Env.slice(1) } : others;
}

const createdBy = (lines: string, args: Readonly<Record<string, string>> = {}) => lastStep(lines, { args }).createdBy;

/** Message of each line after `FROM a`, without its place, which is line 2. */
function checkFailures(cases: Readonly<Record<string, string>>): void {
  const found = Object.keys(cases).map((line) => [line, failure(`FROM a\n${line}`).replace('Dockerfile:2:1: ', '')]);
  assert.deepEqual(Object.fromEntries(found), cases);
}

test('ENV sets variables for what comes after it, and keeps their order', () => {
  assert.deepEqual(config('ENV A=1 B="x y" C=$A\nENV D=$A-${B} A=2\nENV "E F"=g'), {
    Env: ['A=2', 'B=x y', 'C=', 'D=1-x y', 'E F=g'],
  });
  assert.deepEqual(config('ENV A b $HOME "c"'), { Env: ['A=b  c'] });
  assert.equal(createdBy('ENV A="x y" B=2'), 'ENV A=x y B=2');
  assert.deepEqual(config('ENV A=1\nENV $A=2'), { Env: ['A=1', '1=2'] });
});

test('ENV refuses names that are none, and an environment that no program starts with', () => {
  checkFailures({
    'ENV $X=1': 'key "$X" is empty once it is expanded',
    'ENV A="x': 'cannot expand "\\"x": missing closing double quote',
    'ENV A="${B:?must be set}"': 'cannot expand "\\"${B:?must be set}\\"": B: must be set',
  });
  const double = `ENV A=${'x'.repeat(1000)}\n${'ENV A=$A$A\n'.repeat(10)}`;
  assert.match(
    failure(`FROM a\n${double}`),
    /^Dockerfile:10:1: cannot expand .*expands to more than 131071 characters$/,
  );
  const many = `ENV A=${'x'.repeat(60_000)}\nENV A=$A$A\n${Array.from({ length: 20 }, (_, i) => `ENV A${i}=$A\n`).join('')}`;
  assert.match(failure(`FROM a\n${many}`), /the environment has [0-9]+ characters, the limit is 2097152$/);
});

test('ARG gives a value while building: asked for, by default, from the global scope', () => {
  const text = 'ARG G=global\nARG H=hidden\nFROM a\nARG A=1 B=$A C G\nENV OUT=$A,$B,$C,$G,$H';
  const out = (args: Readonly<Record<string, string>>) => build(text, { args }).state.config.Env?.at(-1);
  assert.equal(out({}), 'OUT=1,1,,global,');
  assert.equal(out({ A: '2', C: 'c', G: 'g', H: 'h' }), 'OUT=2,2,c,g,');
  assert.equal(createdBy('ARG A=1 B', { A: '2' }), 'ARG A=2 B');
  assert.equal(createdBy('ARG TARGETARCH'), 'ARG TARGETARCH=amd64');
  assert.equal(createdBy('ARG TARGETARCH=own'), 'ARG TARGETARCH=own');
  assert.equal(createdBy('ARG A=${B:?needed}', { A: 'given' }), 'ARG A=given');
  assert.match(failure('FROM a\nARG A=${B:?needed}'), /B: needed$/);
  assert.equal(createdBy('ARG A=1\nARG A\nENV B=$A'), 'ENV B=1');
});

test('ENV wins over an ARG of the same name, wherever it stands, and a warning says so', () => {
  const text = 'FROM a\nARG V=arg\nENV V=env-$V\nARG V=later\nENV OUT=$V';
  assert.equal(build(text).state.config.Env?.at(-1), 'OUT=env-arg');
  assert.deepEqual(rules(text), ['ArgHiddenByEnv']);
  assert.equal(
    build('FROM a\nARG PATH=/x\nENV OUT=$PATH', { base: { Env: ['PATH=/y'] } }).state.config.Env?.at(-1),
    'OUT=/y',
  );
});

test('LABEL adds labels, later ones win', () => {
  assert.deepEqual(config('ARG V=2\nLABEL a=1 "b c"="d e"\nLABEL a=$V f=\nLABEL old form'), {
    Labels: { a: '2', 'b c': 'd e', f: '', old: 'form' },
  });
  assert.deepEqual(build('FROM a\nLABEL x=2', { base: { Labels: { x: '1', y: '1' } } }).state.config.Labels, {
    x: '2',
    y: '1',
  });
  assert.deepEqual(Object.keys(config('LABEL __proto__=x').Labels ?? {}), ['__proto__']);
  assert.equal(createdBy('LABEL a=1 b="c d"'), 'LABEL a=1 b=c d');
});

test('CMD and ENTRYPOINT put text below the shell, and lists as they are', () => {
  assert.deepEqual(config('CMD echo $HOME'), { Cmd: ['/bin/sh', '-c', 'echo $HOME'] });
  assert.deepEqual(config('SHELL ["/bin/bash", "-ec"]\nENTRYPOINT run'), {
    Shell: ['/bin/bash', '-ec'],
    Entrypoint: ['/bin/bash', '-ec', 'run'],
  });
  assert.deepEqual(config('CMD ["a", "$B"]'), { Cmd: ['a', '$B'] });
  assert.deepEqual(config('CMD []'), { Cmd: [] });
  assert.equal(createdBy('CMD echo "a"\tb'), 'CMD ["/bin/sh" "-c" "echo \\"a\\"\\tb"]');
  assert.equal(createdBy('ENTRYPOINT ["ü\\u0001\\u00a0\\ud83d\\ude00\\\\"]'), 'ENTRYPOINT ["ü\\x01\\u00a0😀\\\\"]');
  assert.equal(createdBy('ENTRYPOINT []'), 'ENTRYPOINT []');
});

test('ENTRYPOINT takes back the CMD of the base, not that of its stage', () => {
  const base = { Entrypoint: ['old'], Cmd: ['base'] };
  const { Entrypoint, Cmd } = build('FROM a\nENTRYPOINT ["new"]', { base }).state.config;
  assert.deepEqual([Entrypoint, Cmd], [['new'], undefined]);
  assert.deepEqual(build('FROM a\nCMD ["own"]\nENTRYPOINT ["new"]', { base }).state.config.Cmd, ['own']);
  const reset = build('FROM a\nENTRYPOINT []', { base }).state.config;
  assert.deepEqual([reset.Entrypoint, reset.Cmd], [undefined, undefined]);
  assert.deepEqual(build('FROM a\nCMD ["own"]', { base }).state.config.Entrypoint, ['old']);
  const staged = build('FROM a AS b\nCMD ["b"]\nFROM b\nENTRYPOINT ["e"]').state.config;
  assert.deepEqual([staged.Entrypoint, staged.Cmd], [['e'], undefined]);
});

test('CMD, ENTRYPOINT and HEALTHCHECK warn when the last of several counts, and of a shell around them', () => {
  assert.deepEqual(rules('FROM a\nCMD x\nCMD ["y"]'), ['JSONArgsRecommended', 'MultipleInstructionsDisallowed']);
  assert.deepEqual(rules('FROM a\nSHELL ["/bin/bash", "-c"]\nCMD x\nENTRYPOINT y'), []);
  assert.deepEqual(rules('FROM a AS b\nCMD ["x"]\nFROM b\nCMD ["y"]'), []);
});

test('EXPOSE takes ranges, protocols and variables', () => {
  const ports = (lines: string) => Object.keys(config(lines).ExposedPorts ?? {});
  assert.deepEqual(ports('EXPOSE 80 443/tcp 53/UDP 9000-9002/sctp'), [
    '443/tcp',
    '53/udp',
    '80/tcp',
    '9000/sctp',
    '9001/sctp',
    '9002/sctp',
  ]);
  assert.deepEqual(ports('ENV P="1 2/udp"\nEXPOSE $P 3-3'), ['1/tcp', '2/udp', '3/tcp']);
  assert.deepEqual(ports('EXPOSE 127.0.0.1:8080:80'), ['80/tcp']);
  assert.equal(createdBy('EXPOSE 80 443'), 'EXPOSE [443/tcp 80/tcp]');
  assert.deepEqual(build('FROM a\nEXPOSE 2', { base: { ExposedPorts: { '1/tcp': {} } } }).state.config.ExposedPorts, {
    '1/tcp': {},
    '2/tcp': {},
  });
  assert.deepEqual(rules('FROM a\nEXPOSE 8080:80/TCP'), ['ExposeInvalidFormat', 'ExposeProtoCasing']);
  checkFailures({
    'EXPOSE 65536': 'port "65536": must be a number up to 65535, or two of them with a - between',
    'EXPOSE http': 'port "http": must be a number up to 65535, or two of them with a - between',
    'EXPOSE 1-2-3': 'port "1-2-3": must be a number up to 65535, or two of them with a - between',
    'EXPOSE 5-1': 'port "5-1": the range ends before it begins',
    'EXPOSE 1/icmp': 'port "1/icmp": protocol "icmp" is none of tcp, udp, sctp',
    'EXPOSE 1/tcp/2': 'port "1/tcp/2": must be PORT, PORT-PORT, PORT/PROTOCOL or PORT-PORT/PROTOCOL',
    [`EXPOSE${' 0-65535'.repeat(4)}`]: 'EXPOSE has more than 196608 ports',
  });
});

test('HEALTHCHECK keeps what it is given, and prints it as Docker does', () => {
  const { Healthcheck } = config('HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f x || exit 1');
  assert.deepEqual(JSON.parse(JSON.stringify(Healthcheck)), {
    Test: ['CMD-SHELL', 'curl -f x || exit 1'],
    Interval: 90e9,
    Retries: 3,
  });
  assert.deepEqual(config('HEALTHCHECK CMD ["a", "b"]').Healthcheck?.Test, ['CMD', 'a', 'b']);
  assert.deepEqual(JSON.parse(JSON.stringify(config('HEALTHCHECK NONE').Healthcheck)), { Test: ['NONE'] });
  assert.equal(
    createdBy('HEALTHCHECK --interval=90s --timeout=1.5s --start-period=1h --start-interval=15ms CMD x y'),
    'HEALTHCHECK {Test:[CMD-SHELL x y] Interval:1m30s Timeout:1.5s StartPeriod:1h0m0s StartInterval:15ms Retries:0}',
  );
});

test('VOLUME, USER, STOPSIGNAL and SHELL say what they say', () => {
  assert.deepEqual(
    config('ARG D=/data\nVOLUME $D /b\nVOLUME ["/c d"]\nUSER ${U:-app}:g\nSTOPSIGNAL ${S:-sigterm}\nSHELL ["a", "b"]'),
    {
      Volumes: { '/data': {}, '/b': {}, '/c d': {} },
      User: 'app:g',
      StopSignal: 'sigterm',
      Shell: ['a', 'b'],
    },
  );
  assert.deepEqual(
    ['VOLUME /a /b', 'USER u', 'STOPSIGNAL 9', 'SHELL ["a", "-c"]', 'MAINTAINER A <b>'].map((line) => createdBy(line)),
    ['VOLUME [/a /b]', 'USER u', 'STOPSIGNAL 9', 'SHELL [a -c]', 'MAINTAINER A <b>'],
  );
  checkFailures({
    'STOPSIGNAL SIGNOPE': '"SIGNOPE" is no signal: a name such as SIGTERM, or a number from 1 to 64',
    'STOPSIGNAL 0': '"0" is no signal: a name such as SIGTERM, or a number from 1 to 64',
    'STOPSIGNAL 65': '"65" is no signal: a name such as SIGTERM, or a number from 1 to 64',
    'STOPSIGNAL SIGRTMIN+3': '',
    'VOLUME $NONE': 'a path of VOLUME is empty once it is expanded',
    'USER a b': 'USER takes USER or USER:GROUP, not "a b"',
  });
});

test('MAINTAINER sets the author, which a stage hands on', () => {
  assert.equal(build('FROM a AS b\nMAINTAINER A B\nFROM b').state.author, 'A B');
});

test('ENV and ARG warn of names that sound like secrets', () => {
  assert.deepEqual(rules('FROM a\nENV API_KEY=1 KEY_FILE=x KEYBOARD=y\nARG password\nARG AUTH_TOKEN_VERSION'), [
    'SecretsUsedInArgOrEnv',
    'SecretsUsedInArgOrEnv',
  ]);
});

test('evaluate() warns of variables that nothing defines, with the one that was meant', () => {
  const { warnings } = lastStep('ENV HOME_DIR=/x\nARG EMPTY\nUSER ${A:-b}$EMPTY$HOME_DIRR');
  assert.deepEqual(
    warnings.map(({ rule, message, position }) => [rule, message, position]),
    [
      [
        'UndefinedVar',
        'variable $HOME_DIRR is not defined: did you mean $HOME_DIR?',
        { file: 'Dockerfile', line: 4, column: 1 },
      ],
    ],
  );
});
