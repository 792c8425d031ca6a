import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { KINDS } from '../../../crds/index.ts';
import { check } from '../crds/check-object.ts';

const FOLDER = join(import.meta.dirname, '../../../manifests');
const files = ['quickstart.yaml', ...globSync('examples/*.yaml', { cwd: FOLDER }).toSorted()];

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string };
  spec?: unknown;
}

const read = (file: string): Manifest[] =>
  // kubectl reads YAML 1.1, where 0755 is octal.
  parseAllDocuments(readFileSync(join(FOLDER, file), 'utf8'), { version: '1.1' }).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS() as Manifest;
  });

for (const file of files) {
  test(`manifests/${file} holds objects that the server takes`, () => {
    const objects = read(file);
    assert.ok(objects.length > 0);
    for (const { apiVersion, kind, metadata, spec = {} } of objects) {
      assert.match(metadata.name, /^[a-z][-a-z0-9]*$/);
      if (!apiVersion.startsWith('windlass.dev/')) continue;
      assert.deepEqual(check(kind, spec), [], `${kind} ${metadata.name}`);
    }
  });
}

test('the quickstart has one object of each kind', () => {
  const kinds = read('quickstart.yaml').map(({ kind }) => kind);
  assert.deepEqual(kinds.toSorted(), KINDS.map(({ kind }) => kind).toSorted());
});

test('no two examples fight over a name or a port, and each is listed', () => {
  const names = files.flatMap((file) => read(file).map(({ kind, metadata }) => `${kind}/${metadata.name}`));
  assert.equal(new Set(names).size, names.length, names.join(' '));
  const text = files.map((file) => readFileSync(join(FOLDER, file), 'utf8')).join('\n');
  const ports = [...text.matchAll(/^ +(?:- )?(?:hostPort|publishedPort): (\d+)/gm)].map(([, port]) => port);
  const taken = ports.filter((port) => port !== '0');
  assert.equal(new Set(taken).size, taken.length, taken.join(' '));
  const index = readFileSync(join(FOLDER, 'examples/README.md'), 'utf8');
  for (const file of files.slice(1)) assert.ok(index.includes(`(${basename(file)})`), `${file} is not in the index`);
});
