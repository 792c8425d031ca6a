// Files made from others by chance, the same ones in every run: each is built or refused with its place, never a crash.
// With WINDLASS_LONG=1 there are many more of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Instruction } from '../../../../builder/dockerfile/ast.ts';
import { parseDockerfile } from '../../../../builder/dockerfile/parse.ts';
import { evaluate } from '../../../../builder/instructions/evaluate.ts';
import type { StageState } from '../../../../builder/instructions/stage-state.ts';
import { startStage } from '../../../../builder/instructions/start-stage.ts';
import { planStages } from '../../../../builder/stages/plan-stages.ts';
import { WindlassError } from '../../../../lib/errors.ts';
import { amd64, makeImage } from '../build-stages.ts';
import { CORPUS, TOKENS } from './corpus.ts';

const ROUNDS = process.env['WINDLASS_LONG'] === '1' ? 300_000 : 4_000;
/** Of processor time, so that other work of the machine does not count. */
const MAX_CPU_MS = 1_000;

const IMAGE = makeImage({
  Env: ['PATH=/bin', 'A=1'],
  OnBuild: ['ENV T=$A', 'COPY <<x /y\nz\nx'],
  Volumes: { '/v': {} },
});

/** All of a front end's work on one file. */
function build(source: Buffer): void {
  const args = new Map([
    ['V', '2'],
    ['HTTP_PROXY', 'p'],
  ]);
  const plan = planStages(parseDockerfile(source, 'Dockerfile'), { args, buildPlatform: amd64, targetPlatform: amd64 });
  const states = new Map<number, StageState>();
  for (const planned of plan.stages) {
    const parent = planned.base.kind === 'stage' ? states.get(planned.base.index) : undefined;
    let state = startStage(planned, planned.base.kind === 'image' ? IMAGE : undefined, { plan, parent });
    const instructions: Instruction[] = [...state.triggers, ...planned.stage.instructions];
    for (const instruction of instructions) ({ state } = evaluate(state, instruction));
    states.set(planned.index, state);
  }
}

/** Whether the file was built. Throws when it was neither built nor refused as it should be. */
function check(source: Buffer): boolean {
  try {
    build(source);
    return true;
  } catch (error) {
    const shown = JSON.stringify(source.toString('latin1').slice(0, 2000));
    if (!(error instanceof WindlassError) || error.reason !== 'Invalid') {
      throw new Error(`crash on ${shown}`, { cause: error });
    }
    const { line = 0, column = 0 } = (error.details['position'] ?? {}) as { line?: number; column?: number };
    const lines = source.toString('latin1').split('\n');
    assert.ok(line >= 1 && line <= lines.length && column >= 1, `${error.message} of ${shown}`);
    assert.ok(column <= (lines[line - 1]?.length ?? 0) + 1, `${error.message} of ${shown}`);
    assert.ok(error.message.startsWith(`Dockerfile:${line}:${column}: `), error.message);
    return false;
  }
}

/** Whole numbers from 0 to below a bound, the same for the same seed (mulberry32). */
function createRandom(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

function mutate(source: Buffer, random: (bound: number) => number): Buffer {
  const at = random(source.length + 1);
  const before = source.subarray(0, at);
  const after = source.subarray(at);
  switch (random(7)) {
    case 0:
      return Buffer.from(before);
    case 1:
      return Buffer.concat([before, after.subarray(1 + random(12))]);
    case 2:
      return Buffer.concat([before, Buffer.from([random(256)]), after.subarray(1)]);
    case 3: {
      const other = Buffer.from(CORPUS[random(CORPUS.length)]!);
      return Buffer.concat([before, other.subarray(random(other.length))]);
    }
    case 4: {
      const lines = source.toString('latin1').split('\n');
      const [moved = ''] = lines.splice(random(lines.length), 1);
      lines.splice(random(lines.length + 1), 0, moved, ...(random(2) === 0 ? [moved] : []));
      return Buffer.from(lines.join('\n'), 'latin1');
    }
    default:
      return Buffer.concat([before, Buffer.from(TOKENS[random(TOKENS.length)]!), after]);
  }
}

test('fuzz: the corpus itself is read, and built as far as its words go', () => {
  assert.deepEqual(
    CORPUS.filter((text) => parseDockerfile(Buffer.from(text), 'Dockerfile').stages.length === 0),
    [],
  );
  const built = CORPUS.filter((text) => check(Buffer.from(text))).length;
  assert.ok(built >= CORPUS.length - 3, `${built} of ${CORPUS.length}`);
});

test(`fuzz: ${ROUNDS} changed files are built or refused with line and column`, () => {
  const random = createRandom(20_260_731);
  let built = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    let source: Buffer = Buffer.from(CORPUS[random(CORPUS.length)]!);
    for (let changes = 1 + random(4); changes > 0; changes -= 1) source = mutate(source, random);
    if (check(source)) built += 1;
  }
  assert.ok(built > ROUNDS / 20 && built < ROUNDS, `${built} of ${ROUNDS} were built`);
});

test('fuzz: every prefix of every file of the corpus is built or refused with line and column', () => {
  for (const text of CORPUS) {
    const source = Buffer.from(text);
    for (let length = 0; length < source.length; length += 1) check(source.subarray(0, length));
  }
});

test('parseDockerfile() takes time in proportion to the file', () => {
  const lines = 100_000;
  const files: Readonly<Record<string, string>> = {
    'lines of one RUN': `FROM a\nRUN x \\\n${'  && echo "x" \\\n'.repeat(lines)}y`,
    'comments in a RUN': `FROM a\nRUN x \\\n${'# x\n\n'.repeat(lines)}y`,
    'lines of a here-document': `FROM a\nRUN <<E\n${'echo\n'.repeat(lines)}E`,
    'lines after <<': `FROM a\nRUN x << \\\n${'  && echo "x" \\\n'.repeat(lines)}y`,
    flags: `FROM a\nRUN \\\n${'--mount=target=/a \\\n'.repeat(lines)}y`,
    'words of an ARG': `FROM a\nARG \\\n${'A=1 \\\n'.repeat(lines)}B`,
    'items of a list': `FROM a\nCMD [\\\n${'"a",\\\n'.repeat(lines)}"b"]`,
    'empty lines': `${'\n'.repeat(lines)}FROM a`,
    'instructions, too many': `FROM a\n${'COPY --chown=a --link b c /d/\n'.repeat(lines)}`,
    'stages, too many': Array.from({ length: lines }, (_, index) => `FROM a AS s${index}\n`).join(''),
    'unclosed lists': `FROM a\nCMD ${'['.repeat(65_000)}`,
    blanks: `#${' '.repeat(65_000)}x\nFROM a\nHEALTHCHECK ${' '.repeat(65_000)}x`,
    'a line of 1 MB': `FROM a\nRUN ${'x'.repeat(2 ** 20)}`,
    'nested expansions': `FROM a\nRUN <<${'${a:-'.repeat(12_000)}`,
  };
  for (const [what, text] of Object.entries(files)) {
    const source = Buffer.from(text);
    const before = process.cpuUsage();
    check(source);
    const { user, system } = process.cpuUsage(before);
    assert.ok((user + system) / 1000 < MAX_CPU_MS, `${what}: ${(user + system) / 1000} ms`);
  }
});

test('evaluate() takes bounded time for words that cost as much as they can', () => {
  const value = `ENV X=${'x'.repeat(60_000)}\nENV X=$X$X\n`;
  const files: Readonly<Record<string, string>> = {
    doubling: `FROM a\nENV A=xx\n${'ENV A=$A$A$A$A\n'.repeat(50)}`,
    patterns: `FROM a\n${value}ENV Y=${'${X##*x*x*x*y}'.repeat(2000)}`,
    replacements: `FROM a\n${value}ENV Y=${'${X//x?/}'.repeat(2000)}`,
    'unknown variables': `FROM a\nENV ${Array.from({ length: 900 }, (_, i) => `VAR_NUMBER_${i}=1`).join(' ')}\nENV Y=${'$VAR_NUMBER_X'.repeat(4000)}`,
    ports: `FROM a\nEXPOSE ${'0-65535 '.repeat(8000)}`,
  };
  for (const [what, text] of Object.entries(files)) {
    const before = process.cpuUsage();
    check(Buffer.from(text));
    const { user, system } = process.cpuUsage(before);
    assert.ok((user + system) / 1000 < 2 * MAX_CPU_MS, `${what}: ${(user + system) / 1000} ms`);
  }
});
