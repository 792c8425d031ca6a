// Builds through the node service of a live shim.
import type { Draft } from '../../cri/messages.ts';
import type { BuildFailure, BuildImageRequest, BuiltImage } from '../../cri/node-messages.ts';
import type { ImageConfig } from '../../oci/manifest.ts';
import type { TestShim } from './shim.ts';

export interface BuildOutcome {
  readonly image: BuiltImage | undefined;
  readonly failure: BuildFailure | undefined;
  /** Lines of the log. */
  readonly log: readonly string[];
  /** The last step that was told, as `3/9 RUN make`. */
  readonly step: string;
}

let builds = 0;

/** Builds, and returns how that ended. `onLog` sees the log as it grows. */
export async function buildImage(
  { cri }: Pick<TestShim, 'cri'>,
  request: Draft<BuildImageRequest>,
  options: { readonly signal?: AbortSignal; readonly onLog?: (text: string) => void } = {},
): Promise<BuildOutcome> {
  let [log, step] = ['', ''];
  let image: BuiltImage | undefined;
  let failure: BuildFailure | undefined;
  const { signal } = options;
  for await (const event of cri.node.buildImage(
    { id: `test-${(builds += 1)}`, ...request },
    signal ? { signal } : {},
  )) {
    log += event.log;
    if (event.log !== '') options.onLog?.(log);
    if (event.step > 0) step = `${event.step}/${event.steps} ${event.instruction}`;
    image = event.image ?? image;
    failure = event.failure ?? failure;
  }
  return { image, failure, log: log.split('\n').slice(0, -1), step };
}

/** The image of a build that has to succeed. */
export async function mustBuild(
  shim: Pick<TestShim, 'cri'>,
  request: Draft<BuildImageRequest>,
): Promise<BuildOutcome & { readonly image: BuiltImage }> {
  const outcome = await buildImage(shim, request);
  if (!outcome.image) throw new Error(`${outcome.failure?.message ?? 'no image'}\n${outcome.log.join('\n')}`);
  return { ...outcome, image: outcome.image };
}

/** Configuration of an image. */
export async function configOf({ cri }: Pick<TestShim, 'cri'>, image: string): Promise<ImageConfig> {
  return JSON.parse((await cri.node.inspectImage({ image })).configJson) as ImageConfig;
}

/** Which of the instructions in `log` were found in the cache, by their text. */
export function cachedSteps(log: readonly string[]): string[] {
  const titles = new Map<string, string>();
  const cached: string[] = [];
  for (const line of log) {
    const [, number = '', rest = ''] = /^(#\d+) (.*)$/.exec(line) ?? [];
    const title = /^\[[^\]]*\] (.*)$/.exec(rest)?.[1];
    if (title !== undefined && !titles.has(number)) titles.set(number, title);
    if (rest === 'CACHED') cached.push(titles.get(number) ?? '');
  }
  return cached;
}
