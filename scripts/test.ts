// Runs the tests with Node's test runner and closes with one plain line: `N passed, N failed, N skipped`.
//   node scripts/test.ts                 every tier
//   node scripts/test.ts unit            one tier (unit, integration, e2e, conformance)
//   node scripts/test.ts test/unit/x.test.ts ...   single files
import { globSync } from 'node:fs';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { inspect } from 'node:util';

/**
 * The long tests are for measuring too, and take what the machine has: one file at a time, and time enough for a soak.
 * In a usual run two files at a time: each waits, for most of its time, for what it has started.
 */
const isLong = process.env['WINDLASS_LONG'] === '1';
const AT_ONCE = isLong ? 1 : 2;
const LONG_TIMEOUT_MS = 7_200_000;

/** Tiers in order, and how long one file of it may take. */
const TIERS = [
  { name: 'unit', timeoutMs: 60_000 },
  { name: 'integration', timeoutMs: 600_000 },
  { name: 'e2e', timeoutMs: 600_000 },
  { name: 'conformance', timeoutMs: 600_000 },
] as const;

/** The files that take longest, the longest first. */
const LONGEST = [
  'e2e/server-cluster',
  'e2e/server-membership',
  'e2e/swarm',
  'e2e/moving-endpoints',
  'e2e/builds',
  'e2e/image-sharing',
  'e2e/prepull',
  'integration/node-agent/real-registry',
  'integration/builder/run/run-step',
  'integration/builder/run/run-recovery',
  'integration/node-agent/restart',
  'integration/node-agent/crash',
  'integration/shim/kill-points',
  'integration/images/image-service',
  'integration/images/layers',
  'integration/controllers/failure',
  'integration/controllers/disruption',
  'integration/controllers/rollout',
  'integration/images/bad-registry',
  'integration/images/live-shim',
  'e2e/examples',
  'e2e/node-failure',
  'e2e/chaos',
  'e2e/containers',
  'e2e/convergence',
  'e2e/kubectl',
  'e2e/kubectl-more',
  'e2e/overlay',
  'e2e/routing-mesh',
  'conformance/build/cases',
  'conformance/cri/user-namespaces',
];

const total = { passed: 0, failed: 0, skipped: 0 };
const skips: string[] = [];
const failures: string[] = [];

async function runFiles(files: string[], concurrency: number, timeoutMs: number): Promise<void> {
  const stream = run({ files, concurrency, timeout: isLong ? LONG_TIMEOUT_MS : timeoutMs });
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

/** So that no long file is left running alone at the end of its tier. */
function longestFirst(files: readonly string[]): string[] {
  const rank = (file: string): number => {
    const index = LONGEST.indexOf(file.replace(/^test\/(.*)\.test\.ts$/, '$1'));
    return index < 0 ? LONGEST.length : index;
  };
  return files.toSorted((a, b) => rank(a) - rank(b) || a.localeCompare(b));
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
    if (found.length > 0) await runFiles(longestFirst(found), AT_ONCE, tier.timeoutMs);
  }
}
for (const skip of skips) console.log(`skipped: ${skip}`);
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
