// Waiting for the machine to come to rest between two measurements.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const WINDOW_MS = 60;
const IDLE_SHARE = 0.93;

/** Returns when the processors were idle for a moment, or after `atMostMs` on a machine that others use too. */
export async function waitForQuiet(atMostMs = 600): Promise<void> {
  const deadline = performance.now() + atMostMs;
  let before = readTicks();
  while (performance.now() < deadline) {
    await sleep(WINDOW_MS);
    const now = readTicks();
    if (now.idle - before.idle >= IDLE_SHARE * (now.total - before.total)) return;
    before = now;
  }
}

function readTicks(): { idle: number; total: number } {
  const ticks = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').split(/\s+/).slice(1).map(Number);
  return { idle: ticks[3] ?? 0, total: ticks.reduce((sum, count) => sum + count, 0) };
}
