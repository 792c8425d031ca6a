// What the files of test/conformance/cri/ have in common: one shim per file, and containers in the ways the groups of
// the public validation suite make them.
import { after, before, test, type TestContext } from 'node:test';
import type { ContainerConfig, ContainerStatus, Draft, PodSandboxConfig } from '../../cri/messages.ts';
import { requirePrograms, requireRoot } from './require.ts';
import { startTestShim, type TestShim, type TestShimOptions } from './shim.ts';
import { waitFor } from './wait.ts';

export type SecurityContext = NonNullable<NonNullable<Draft<ContainerConfig>['linux']>['securityContext']>;

export interface CriSuite {
  readonly shim: TestShim;
  /** Registers a test that needs root and conmon. */
  test(name: string, run: (t: TestContext) => Promise<void>): void;
  /** Runs a container to its end; its status and the lines it wrote. */
  runToEnd(
    config: Draft<ContainerConfig>,
    sandbox?: Draft<PodSandboxConfig>,
  ): Promise<{ status: ContainerStatus; lines: string[] }>;
  /** A container that sleeps, in a sandbox of its own. */
  runSleeper(config?: Draft<ContainerConfig>, sandbox?: Draft<PodSandboxConfig>): Promise<string>;
  /** Waits until the container wrote a line that contains `text`. */
  untilLogged(containerId: string, text: string): Promise<unknown>;
  /** A name that no other sandbox of the file has. */
  freshName(): string;
}

/** Prepares the file's shim: `options` is asked when the tests start. */
export function criSuite(options: () => Promise<TestShimOptions> = async () => ({})): CriSuite {
  let shim: TestShim | undefined;
  let count = 0;
  const isRoot = process.getuid?.() === 0;
  before(async () => {
    if (isRoot) shim = await startTestShim(await options());
  });
  after(async () => {
    await shim?.[Symbol.asyncDispose]();
  });
  const suite: CriSuite = {
    get shim() {
      if (!shim) throw new Error('the shim is there in tests only');
      return shim;
    },
    test(name, run) {
      test(name, async (t) => {
        if (requireRoot(t) && requirePrograms(t, 'runc', 'conmon')) await run(t);
      });
    },
    freshName() {
      count += 1;
      return `pod-${count}`;
    },
    async runToEnd(config, sandbox) {
      const containerId = await suite.shim.run(suite.freshName(), config, sandbox);
      const status = await suite.shim.waitForExit(containerId);
      return { status, lines: await suite.shim.readLog(containerId) };
    },
    untilLogged: (containerId, text) =>
      waitFor(async () => (await suite.shim.readLog(containerId)).some((line) => line.includes(text)), {
        what: `${text} in the log`,
      }),
    runSleeper: (config = {}, sandbox) =>
      suite.shim.run(suite.freshName(), { command: ['sleep', '1000'], ...config }, sandbox),
  };
  return suite;
}

/** Everything that a stream gives until it ends. */
export async function collect<Message>(stream: AsyncIterable<Message>): Promise<Message[]> {
  const messages: Message[] = [];
  for await (const message of stream) messages.push(message);
  return messages;
}
