import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build, failure, rules } from '../build-stages.ts';

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

test('startStage() begins with the configuration of the base image', () => {
  const base = {
    Env: ['PATH=/x', 'A=1'],
    User: 'u',
    WorkingDir: '/w/../v',
    Cmd: ['c'],
    Labels: { l: '1' },
    Shell: ['s'],
  };
  assert.deepEqual(build('FROM a', { base }).state.config, { ...base, WorkingDir: '/v' });
  assert.deepEqual(build('FROM a', { base: { Env: ['A=1'] } }).state.config, { Env: ['A=1', PATH] });
  assert.deepEqual(build('FROM scratch').state.config, { Env: [PATH], WorkingDir: '/' });
});

test('startStage() hands configuration and ARGs of a stage to those built on it, and to no others', () => {
  const text = 'FROM a AS b\nARG V=1\nENV E=$V\nWORKDIR /w\nFROM b\nENV OUT=$V$E\nWORKDIR x';
  const { state } = build(text);
  assert.deepEqual([state.config.Env?.slice(1), state.config.WorkingDir], [['E=1', 'OUT=11'], '/w/x']);
  assert.deepEqual(rules(text), []);
  assert.deepEqual(build('FROM a AS b\nARG V=1\nFROM a\nENV OUT=$V').state.config.Env?.at(-1), 'OUT=');
});

test('startStage() makes triggers of the base instructions of the stage, which its image does not have', () => {
  const base = { OnBuild: ['ENV A=1', 'COPY <<f /f\n$A\nf', 'COPY --from=tools /t /t'], Env: [] };
  const { state, steps } = build('FROM x AS tools\nFROM a\nENV B=$A', { base });
  assert.deepEqual(
    steps.map(({ text, createdBy }) => [text, createdBy]),
    [
      ['ONBUILD ENV A=1', 'ENV A=1'],
      ['ONBUILD COPY <<f /f', 'COPY <<f /f'],
      ['ONBUILD COPY --from=tools /t /t', 'COPY /t /t'],
      ['ENV B=$A', 'ENV B=1'],
    ],
  );
  assert.deepEqual(
    [state.config.OnBuild, state.triggerNeeds],
    [undefined, { stages: [0], images: [], context: false }],
  );
  const copy = steps[1]?.operation;
  assert.deepEqual(copy?.kind === 'copy' && copy.files, [{ name: 'f', content: '1\n' }]);
});

test('ONBUILD adds to what the image carries, in the order of the file, and has no history', () => {
  const { state, steps } = build('FROM a\nONBUILD RUN $X\nONBUILD USER u', { base: { OnBuild: ['ENV X=1'] } });
  assert.deepEqual(state.config.OnBuild, ['RUN $X', 'USER u']);
  assert.deepEqual(
    steps.map(({ createdBy }) => createdBy),
    ['ENV X=1', undefined, undefined],
  );
});

test('ONBUILD of a stage runs in the stages built on it, with the escape of the file', () => {
  const { state } = build('# escape=`\nFROM a AS b\nONBUILD ENV A="x`"y"\nFROM b');
  assert.deepEqual([state.config.Env?.at(-1), state.config.OnBuild], ['A=x"y', undefined]);
});

test('startStage() refuses triggers that are none, and names the base', () => {
  const cases: Readonly<Record<string, string>> = {
    'FROM x': 'FROM cannot be a trigger',
    'ONBUILD RUN x': 'ONBUILD cannot be a trigger',
    'MAINTAINER x': 'MAINTAINER cannot be a trigger',
    RUNN: 'unknown instruction "RUNN": did you mean RUN?',
    'RUN a\nRUN b': 'it must be one instruction',
    '': 'it must be one instruction',
    'COPY a': 'COPY needs a source and a destination',
  };
  const found = Object.keys(cases).map((text) => {
    const message = failure('FROM s AS s\nFROM base:1', { base: { OnBuild: [text] }, target: '1' });
    return [text, message.replace('Dockerfile:2:1: ONBUILD trigger of base:1: ', '')];
  });
  assert.deepEqual(Object.fromEntries(found), cases);
  assert.match(
    failure('FROM a\n', { base: { OnBuild: ['COPY --from=9 a b'] } }),
    /^Dockerfile:1:1: --from=9: there is no stage 9/,
  );
});
