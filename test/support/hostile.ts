// A shim with a sandbox, and short forms for tests that hand it bad images and bad requests.
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ContainerConfig, Draft } from '../../cri/messages.ts';
import { busyboxFiles, type TarItem } from './images.ts';
import { startTestShim, type TestShim } from './shim.ts';

export interface HostileShim extends AsyncDisposable {
  readonly shim: TestShim;
  readonly sandbox: string;
  /** Host folder beside the shim's own, gone with it. */
  folder(name: string): string;
  /** Creates a container of a name of its own that sleeps, unless said otherwise. */
  create(config?: Draft<ContainerConfig>): Promise<string>;
  start(config?: Draft<ContainerConfig>): Promise<string>;
  /** Exit code of a script in a running container. */
  tryScript(containerId: string, script: string): Promise<number>;
}

export async function startHostileShim(name: string): Promise<HostileShim> {
  const shim = await startTestShim();
  const sandbox = await shim.runSandbox(name);
  let count = 0;
  const create = (config: Draft<ContainerConfig> = {}): Promise<string> => {
    count += 1;
    return shim.create(sandbox, {
      metadata: { name: `c${count}`, attempt: 0 },
      logPath: `${count}.log`,
      command: ['sleep', '1000'],
      ...config,
    });
  };
  return {
    ...{ shim, sandbox, create },
    folder(folderName) {
      const path = join(dirname(shim.instance.home), folderName);
      mkdirSync(path, { recursive: true });
      return path;
    },
    async start(config) {
      const containerId = await create(config);
      await shim.cri.runtime.startContainer({ containerId });
      return containerId;
    },
    async tryScript(containerId, script) {
      const cmd = ['sh', '-c', script];
      return (await shim.cri.runtime.execSync({ containerId, cmd, timeout: 10 })).exitCode;
    },
    [Symbol.asyncDispose]: () => shim[Symbol.asyncDispose](),
  };
}

/** The files of the busybox image but for these. */
export const without = (...names: string[]): TarItem[] =>
  busyboxFiles().filter(({ name }) => !names.includes(name.replace(/\/$/, '')));

export const link = (name: string, linkName: string): TarItem => ({ name, type: 'symlink', linkName });
