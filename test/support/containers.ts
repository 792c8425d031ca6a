// Short forms for tests that apply Containers to a test instance and look at what became of them.
import { stringify } from 'yaml';
import type { TestInstance } from './instance.ts';
import { waitFor } from './wait.ts';

/** The parts of a Container's status that tests look at. */
export interface ObservedStatus {
  readonly phase?: string;
  readonly reason?: string;
  readonly exitCode?: number;
  readonly restartCount?: number;
  readonly containerID?: string;
  readonly startedAt?: string;
  readonly health?: { readonly status: string; readonly failingStreak?: number };
  readonly networks?: readonly { readonly name: string; readonly ipv4Address: string; readonly ipv6Address?: string }[];
  readonly ports?: readonly { readonly hostPort: number; readonly containerPort: number }[];
  readonly conditions?: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
  }[];
}

/** Applies one Container (imageName busybox unless `spec` names another image) and returns nothing: wait for its state. */
export async function applyContainer(instance: TestInstance, name: string, spec: object): Promise<void> {
  const image = 'image' in spec || 'imageName' in spec ? {} : { imageName: 'busybox' };
  await instance.apply(
    stringify({ apiVersion: 'windlass.dev/v1', kind: 'Container', metadata: { name }, spec: { ...image, ...spec } }),
  );
}

export async function statusOf(instance: TestInstance, name: string): Promise<ObservedStatus> {
  const { status } = JSON.parse(await instance.kubectlOk(['get', 'ctr', name, '-o', 'json'])) as {
    status?: ObservedStatus;
  };
  return status ?? {};
}

export const readyOf = (status: ObservedStatus): { status: string; reason: string; message: string } | undefined =>
  status.conditions?.find(({ type }) => type === 'Ready');

/** Waits until the Container's status satisfies `holds`; fails with the last status seen. */
export async function waitForStatus(
  instance: TestInstance,
  name: string,
  holds: (status: ObservedStatus) => boolean,
  timeoutMs = 20_000,
): Promise<ObservedStatus> {
  let last: ObservedStatus = {};
  try {
    await waitFor(async () => holds((last = await statusOf(instance, name))), { timeoutMs, intervalMs: 100 });
  } catch (error) {
    throw new Error(
      `container ${name} did not come to the state waited for; its last status: ${JSON.stringify(last)}`,
      { cause: error },
    );
  }
  return last;
}

/** Runs a Container to its end and returns what it printed. */
export async function runToEnd(
  instance: TestInstance,
  name: string,
  spec: object,
): Promise<{ status: ObservedStatus; output: string }> {
  await applyContainer(instance, name, { restartPolicy: 'Never', ...spec });
  const status = await waitForStatus(instance, name, ({ phase }) => phase === 'Succeeded' || phase === 'Failed');
  return { status, output: await instance.kubectlOk(['logs', name]) };
}

/** Deletes Containers and waits until they are gone. */
export async function deleteContainers(instance: TestInstance, ...names: string[]): Promise<void> {
  await instance.kubectlOk(['delete', 'ctr', ...names, '--timeout=40s']);
}
