import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeProgram,
  encodeProgram,
  FIELD,
  OP,
  type Instruction,
} from '../../../../runtime-shim/oci-runtime/filter-program.ts';
import { shortenFilter } from '../../../../runtime-shim/oci-runtime/shorten-filter.ts';
import { runFilter } from '../../../support/run-filter.ts';

const [ALLOW, REFUSE, KILL] = [0x7fff0000, 0x00050001, 0];
const [X64, I386, X32_BIT] = [0xc000003e, 0x40000003, 0x40000000];
const ARGUMENT = 16;

const op = (code: number, k: number, jt = 0, jf = 0): Instruction => ({ code, k, jt, jf });
const ret = (k: number): Instruction => op(OP.return, k);

/** As libseccomp does it: a comparison per call, a jump to the next architecture, a look at an argument in between. */
function asLibseccomp(
  allowed: readonly (readonly [architecture: number, numbers: readonly number[]])[],
): Instruction[] {
  const sections = allowed.map(([architecture, numbers]) => {
    const calls = numbers.flatMap((number) => [op(OP.ifEqual, number, 0, 1), ret(ALLOW)]);
    const byArgument = [
      ...[op(OP.ifEqual, 1000, 0, 4), op(OP.load, ARGUMENT), op(0x54, 0x7e020000), op(OP.ifEqual, 0, 0, 1)],
      ret(ALLOW),
    ];
    const body = [op(OP.load, FIELD.number), ...calls, ...byArgument, ret(REFUSE)];
    return [op(OP.ifEqual, architecture, 1, 0), op(OP.jump, body.length), ...body];
  });
  return [op(OP.load, FIELD.architecture), ...sections.flat(), ret(KILL)];
}

/** Both say the same of every number next to one that either of them names, whatever the arguments. */
function assertSame(before: readonly Instruction[], after: readonly Instruction[]): void {
  const named = [...before, ...after].flatMap(({ k }) => [k - 1, k, k + 1]).filter((k) => k >= 0 && k < 2 ** 32);
  const values = [...new Set([0, 2 ** 32 - 1, ...named])];
  const some = values.filter((value) => value >= I386 - 1 || value < 2);
  for (const architecture of [0, X64 - 1, X64, X64 + 1, I386 - 1, I386, I386 + 1, ...some.slice(0, 4)])
    for (const number of values)
      for (const word of [0, 0x20000]) {
        const call = { number, architecture, words: [word, 0, word, 0, 0, 0, 0, 0, 0, 0, 0, 0] };
        const wanted = runFilter(before, call);
        if (runFilter(after, call) !== wanted)
          assert.fail(`architecture ${architecture}, number ${number}, word ${word}: not ${wanted}`);
      }
}

test('shortenFilter() makes ranges of what libseccomp compares one by one, and decides the same', () => {
  const numbers = Array.from({ length: 450 }, (_, index) => index).filter((number) => number % 9 !== 4);
  const x32 = numbers.filter((number) => number % 5 !== 0).map((number) => X32_BIT + number);
  const long = asLibseccomp([
    [X64, [...numbers, ...x32].toReversed()],
    [I386, numbers],
  ]);
  const short = decodeProgram(shortenFilter(encodeProgram(long)));
  assert.ok(short.length < long.length / 3, `${long.length} -> ${short.length}`);
  assertSame(long, short);
});

test('shortenFilter() decides the same for whatever a filter compares', () => {
  // A generator with a seed (xorshift): a failure can be looked at again.
  let seed = 12_345;
  const random = (below: number): number => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) % below;
  };
  const pick = <T>(...from: readonly T[]): T => from[random(from.length)] as T;
  let shortened = 0;
  for (let round = 0; round < 120; round += 1) {
    const length = 20 + random(200);
    const program = Array.from({ length }, (_, index) => {
      const left = length - index - 1;
      const skip = (): number => Math.min(pick(0, 0, 1, random(40)), left);
      const kind = index === 0 ? 0 : random(20);
      if (kind === 0) return op(OP.load, pick(FIELD.number, FIELD.number, FIELD.architecture));
      if (kind === 1) return ret(pick(ALLOW, REFUSE, KILL));
      if (kind === 2) return op(OP.jump, skip());
      if (kind === 3) return op(OP.load, pick(8, ARGUMENT, ARGUMENT + 4));
      const compared = pick<number>(X64, I386, 2 ** 32 - 1, 0, random(500), random(500), X32_BIT + random(500));
      return op(pick<number>(OP.ifEqual, OP.ifEqual, OP.ifGreater, OP.ifAtLeast), compared, skip(), skip());
    });
    const filter = encodeProgram([...program, ret(REFUSE)]);
    const short = shortenFilter(filter);
    if (short.equals(filter)) continue;
    shortened += 1;
    assert.ok(short.length < filter.length);
    assertSame(decodeProgram(filter), decodeProgram(short));
  }
  assert.ok(shortened > 40, `${shortened} of 120`);
});

test('shortenFilter() leaves alone what it cannot tell apart, and what is short already', () => {
  const chain = Array.from({ length: 100 }, (_, index) => [op(OP.ifEqual, index, 0, 1), ret(ALLOW)]).flat();
  const number = op(OP.load, FIELD.number);
  const filters = {
    'a mask of the number': [number, op(0x54, 0xff), ...chain, ret(KILL)],
    'a bit of the number': [number, op(0x45, X32_BIT, 0, 1), ret(KILL), ...chain, ret(KILL)],
    'nothing loaded': [...chain, ret(KILL)],
    'a register kept for later': [number, op(0x07, 0), ...chain, ret(KILL)],
    'no end': [number, ...chain],
    'one decision': [ret(ALLOW)],
    nothing: [],
  };
  for (const [name, program] of Object.entries(filters)) {
    const filter = encodeProgram(program);
    assert.equal(shortenFilter(filter), filter, name);
  }
  assert.deepEqual(shortenFilter(Buffer.from('first')), Buffer.from('first'));
});
