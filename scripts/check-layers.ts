// Fails on an import that the folder table of docs/architecture.md does not allow, on a folder the table lacks, and on
// a library used outside the one folder that owns it.
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/** folder -> folders it may import (itself is always allowed). `*` = anything. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  crds: ['lib'],
  oci: ['lib'],
  cri: ['lib'],
  client: ['crds', 'lib'],
  apiserver: ['crds', 'lib'],
  controllers: ['client', 'crds', 'cri', 'lib'],
  'runtime-shim': ['cri', 'oci', 'lib'],
  builder: ['runtime-shim', 'oci', 'lib'],
  registry: ['client', 'crds', 'oci', 'lib'],
  'docker-api': ['client', 'crds', 'oci', 'lib'],
  cli: ['client', 'crds', 'lib'],
  test: ['*'],
  bench: ['*'],
  scripts: ['*'],
};

/** package -> the only folders that may import it. */
const OWNERS: Readonly<Record<string, readonly string[]>> = {
  etcd3: ['apiserver', 'test'],
  // Benchmarks measure the kernel, not the event loop.
  koffi: ['runtime-shim', 'bench'],
  '@grpc/grpc-js': ['test'],
  '@peculiar/x509': ['lib'],
};

/** Files that put a process together, and what of the folders they may name beyond the table. */
const COMPOSERS: Readonly<Record<string, readonly string[]>> = { 'runtime-shim/main.ts': ['builder'] };

/** folder -> the only folders of another one that it may import. */
const PARTS: Readonly<Record<string, readonly string[]>> = {
  'builder runtime-shim': ['snapshots', 'oci-runtime', 'host', 'images', 'cgroups'],
};

const problems: string[] = [];
for (const file of globSync('**/*.ts', { exclude: ['node_modules/**', '**/node_modules'] })) {
  const folder = file.split('/')[0] ?? '';
  const allowed = LAYERS[folder];
  if (!allowed) {
    problems.push(`${file}: folder ${folder}/ is not in the layer table`);
    continue;
  }
  for (const [, specifier = ''] of readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)) {
    if (specifier.startsWith('.')) {
      const [target = '', part = ''] = normalize(join(dirname(file), specifier)).split('/');
      const isAllowed = allowed.includes('*') || allowed.includes(target) || COMPOSERS[file]?.includes(target) === true;
      if (target !== folder && !isAllowed) {
        problems.push(`${file}: ${folder}/ may not import ${target}/ (${specifier})`);
      }
      const parts = PARTS[`${folder} ${target}`];
      if (parts && !parts.includes(part)) {
        problems.push(`${file}: of ${target}/, ${folder}/ may import ${parts.join(', ')} only (${specifier})`);
      }
      if (folder === 'runtime-shim' && /koffi/.test(specifier) && !file.startsWith('runtime-shim/host/')) {
        problems.push(`${file}: koffi belongs in runtime-shim/host/`);
      }
    } else {
      const owners = OWNERS[specifier];
      if (owners && !owners.includes(folder)) problems.push(`${file}: ${specifier} belongs in ${owners.join(', ')}`);
      if (specifier === 'koffi' && folder === 'runtime-shim' && !file.startsWith('runtime-shim/host/'))
        problems.push(`${file}: koffi belongs in runtime-shim/host/`);
    }
  }
}
if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exitCode = 1;
} else {
  console.log('layers: ok');
}
