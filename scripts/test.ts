// Runs the tests with Node's test runner and closes with one plain line: `N passed, N failed, N skipped`.
//   node scripts/test.ts                 every tier
//   node scripts/test.ts unit            one tier (unit, integration, e2e, conformance)
//   node scripts/test.ts test/unit/x.test.ts ...   single files
import { globSync } from 'node:fs';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { inspect } from 'node:util';

/** Tiers in order; files of one tier run `concurrency` at a time. */
const TIERS = [
  { name: 'unit', concurrency: 2, timeoutMs: 60_000 },
  { name: 'integration', concurrency: 1, timeoutMs: 300_000 },
  { name: 'e2e', concurrency: 1, timeoutMs: 600_000 },
  { name: 'conformance', concurrency: 1, timeoutMs: 600_000 },
] as const;

const total = { passed: 0, failed: 0, skipped: 0 };
const skips: string[] = [];
const failures: string[] = [];

async function runFiles(files: string[], concurrency: number, timeoutMs: number): Promise<void> {
  const stream = run({ files, concurrency, timeout: timeoutMs });
  stream.on('test:pass', (event) => {
    if (event.details.type === 'suite' || (event.nesting === 0 && event.name === event.file)) return;
    if (event.skip !== undefined && event.skip !== false) {
      total.skipped += 1;
      skips.push(`${event.name}: ${String(event.skip)}`);
    } else {
      total.passed += 1;
    }
  });
  stream.on('test:fail', (event) => {
    if (event.details.type === 'suite') return;
    total.failed += 1;
    failures.push(`${event.file ?? ''}: ${event.name}\n${inspect(event.details.error.cause ?? event.details.error)}`);
  });
  await new Promise<void>((resolve, reject) => {
    stream.compose(spec).on('end', resolve).on('error', reject).pipe(process.stdout, { end: false });
  });
}

const args = process.argv.slice(2);
const files = args.filter((arg) => arg.endsWith('.ts'));
const tiers = args.filter((arg) => !arg.endsWith('.ts'));
for (const tier of tiers) {
  if (!TIERS.some(({ name }) => name === tier)) {
    console.error(
      `unknown tier ${tier}: want one of ${TIERS.map(({ name }) => name).join(', ')}, or files ending in .ts`,
    );
    process.exit(2);
  }
}
if (files.length > 0) {
  await runFiles(files, 1, 600_000);
} else {
  for (const tier of TIERS) {
    if (tiers.length > 0 && !tiers.includes(tier.name)) continue;
    const found = globSync(`test/${tier.name}/**/*.test.ts`).toSorted();
    if (found.length > 0) await runFiles(found, tier.concurrency, tier.timeoutMs);
  }
}
for (const skip of skips) console.log(`skipped: ${skip}`);
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
