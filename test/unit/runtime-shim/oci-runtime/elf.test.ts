import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readImports } from '../../../../runtime-shim/oci-runtime/elf-imports.ts';
import { makeLibrary } from '../../../../runtime-shim/oci-runtime/elf-library.ts';

const some = Array.from({ length: 40 }, (_, index) => ({ name: `f${index}`, version: `V${index % 3}` }));

test('readImports() tells what a program takes from a library, and of what version', () => {
  const program = readFileSync(process.execPath);
  const power = readImports(program, 'libm.so.6')?.find(({ name }) => name === 'pow');
  assert.match(power?.version ?? '', /^GLIBC_2/);
  assert.deepEqual(readImports(program, 'libnever.so.1'), []);
  // Its stderr is a variable there.
  assert.equal(readImports(program, 'libc.so.6'), undefined);
});

test('readImports() knows nothing of a file that is no program, or is cut off', () => {
  const program = readFileSync(process.execPath);
  for (const file of [
    Buffer.alloc(0),
    Buffer.from('#!/bin/sh\nexec crun "$@"\n'.padEnd(100)),
    program.subarray(0, 200),
  ])
    assert.equal(readImports(file, 'libm.so.6'), undefined);
});

test('makeLibrary() makes none for a machine that it knows no code for, none without functions, none beyond its page', () => {
  assert.equal(makeLibrary('libx.so.0', some, 'sparc'), undefined);
  assert.equal(makeLibrary('libx.so.0', [], 'x64'), undefined);
  const long = some.map(({ name, version }) => ({ name: name.repeat(100), version }));
  assert.equal(makeLibrary('libx.so.0', long, 'x64'), undefined);
  for (const machine of ['x64', 'arm64']) assert.equal(makeLibrary('libx.so.0', some, machine)?.readUInt16LE(16), 3);
});
