// The other side of kill-points.ts: a shim that a test can make die at a step, and one life of a sandbox and its
// container as a list of calls.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import type { KillPlan } from './kill-points.ts';
import { startTestShim, type TestShim } from './shim.ts';
import { waitFor } from './wait.ts';

const PRELOAD = fileURLToPath(new URL('./kill-points.ts', import.meta.url));

export interface MortalShim extends AsyncDisposable {
  readonly shim: TestShim;
  /**
   * Makes `call` with the plan armed. When the shim died of it, it is started again and the call repeated, as a client
   * would. Tells whether it died, and every step taken until then.
   */
  attempt(plan: KillPlan, call: () => Promise<void>): Promise<{ died: boolean; steps: string[] }>;
  /** Kills the shim with the first plan while it makes `call`, then starts it with the second; false when it died of that. */
  restart(plan: KillPlan, call: () => Promise<void>, onStart: KillPlan): Promise<boolean>;
}

export async function startMortalShim(): Promise<MortalShim> {
  let control = '';
  const shim = await startTestShim({
    sandboxPool: 0,
    nodeFlags: ['--import', PRELOAD],
    prepare(root) {
      control = join(root, 'kill-points');
    },
    // Dozens of starts: what V8 compiled for the first serves them all.
    env: () => ({ KILL_POINTS: control, NODE_COMPILE_CACHE: join(dirname(control), 'compile-cache') }),
  });
  const isGone = (): boolean => shim.process.exitCode !== null || shim.process.signalCode !== null;
  /** Makes the call with the plan armed; the steps taken, be it to the end or to the death. */
  const callArmed = async (plan: KillPlan, call: () => Promise<void>): Promise<string[]> => {
    writeFileSync(control, JSON.stringify(plan));
    try {
      await call();
      // It may have died of what it did after its answer.
      await shim.cri.runtime.version({});
    } catch (error) {
      // The connection can be lost a moment before the parent hears of the death.
      await waitFor(isGone, { what: `the death of the shim, not ${inspect(error)}` });
    }
    rmSync(control);
    const steps = existsSync(`${control}.trace`) ? readFileSync(`${control}.trace`, 'utf8').trim().split('\n') : [];
    rmSync(`${control}.trace`, { force: true });
    return steps;
  };
  return {
    shim,
    async attempt(plan, call) {
      const steps = await callArmed(plan, call);
      if (!isGone()) return { died: false, steps };
      await shim.start();
      await call();
      return { died: true, steps };
    },
    async restart(plan, call, onStart) {
      await callArmed(plan, call);
      assert.ok(isGone(), `the shim should have died at ${plan.match}`);
      writeFileSync(control, JSON.stringify(onStart));
      try {
        await shim.start();
        return true;
      } catch (error) {
        // Its own words, had it had any, would be in the message.
        assert.match(String(error), /the shim ended: $/);
        return false;
      } finally {
        rmSync(control);
        rmSync(`${control}.trace`, { force: true });
      }
    },
    async [Symbol.asyncDispose]() {
      await shim[Symbol.asyncDispose]();
    },
  };
}
