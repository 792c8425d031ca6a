// Writes crds/<kind>.yaml and docs/api/<kind>.yaml from the zod schemas; with --check only compares, and fails when one
// of them is stale.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { renderApiDocument } from './api-document.ts';
import { toDefinition } from './definition.ts';
import { KINDS } from './index.ts';
import type { CustomKind } from './kind.ts';

const ROOT = join(import.meta.dirname, '..');

/** Text of crds/<kind>.yaml. */
function renderDefinition(kind: CustomKind): string {
  const head = `# Generated from crds/${kind.singular}.ts by "npm run generate": change that file, not this one.\n`;
  return head + stringify(toDefinition(kind), { lineWidth: 0, aliasDuplicateObjects: false });
}

/** Every generated file, by its path in the repository, as it should be. */
export function renderFiles(): ReadonlyMap<string, string> {
  return new Map(
    KINDS.flatMap((kind) => [
      [`crds/${kind.singular}.yaml`, renderDefinition(kind)],
      [`docs/api/${kind.singular}.yaml`, renderApiDocument(kind)],
    ]),
  );
}

/** Paths of the files that are not what the schemas say. */
export function staleFiles(): string[] {
  return [...renderFiles()].filter(([path, text]) => readIfThere(join(ROOT, path)) !== text).map(([path]) => path);
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

if (import.meta.main) {
  if (process.argv.includes('--check')) {
    const stale = staleFiles();
    if (stale.length > 0) {
      console.error(`stale: ${stale.join(', ')}; run "npm run generate"`);
      process.exitCode = 1;
    } else {
      console.log('generated: ok');
    }
  } else {
    for (const [path, text] of renderFiles()) writeFileSync(join(ROOT, path), text);
  }
}
