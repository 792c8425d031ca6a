// What another builder has to do: make an image of a folder with a Dockerfile, and hand it out as an archive.
import type { PeerId } from '../../../test/support/build/corpus.ts';
import { runCommand } from '../../../test/support/instance.ts';

export interface PeerBuild {
  /** The build context. */
  readonly folder: string;
  /** Below it. */
  readonly dockerfile: string;
  readonly target?: string | undefined;
  readonly args?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** Id and the file that holds it. */
  readonly secrets?: Readonly<Record<string, string>>;
  readonly noCache?: boolean;
  /** Name of the image. */
  readonly tag: string;
}

export interface BuildPeer {
  readonly id: PeerId;
  /** Program and version, as it says itself. */
  readonly version: string;
  /** Throws BuildFailed with the end of what it printed. */
  build(request: PeerBuild): Promise<void>;
  /** Writes a built image as a docker-archive. */
  save(tag: string, path: string): Promise<void>;
  /** Stops what was started for it and removes everything. */
  close(): Promise<void>;
}

export class BuildFailed extends Error {
  override readonly name = 'BuildFailed';
}

/** Runs a builder; what it prints is the message when it fails. */
export async function runBuilder(file: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const { code, stdout, stderr } = await runCommand(file, args, { env, timeoutMs: 600_000 });
  if (code !== 0) throw new BuildFailed(`${stdout}\n${stderr}`.trim());
  return stdout;
}

/** `flag` and `key=value` for each entry. */
export const pairs = (flag: string, values: Readonly<Record<string, string>> = {}): string[] =>
  Object.entries(values).flatMap(([key, value]) => [flag, `${key}=${value}`]);
