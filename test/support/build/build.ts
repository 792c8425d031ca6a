// Builds by a live shim, as its callers see them.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Draft } from '../../../cri/messages.ts';
import type { BuildFailure, BuildImageRequest, BuiltImage } from '../../../cri/node-messages.ts';
import { writeOciLayout } from '../images.ts';
import type { TestShim } from '../shim.ts';
import type { BaseImage } from './base-images.ts';
import { readImageArchive } from './image-facts.ts';

export interface BuildOutcome {
  readonly image?: BuiltImage;
  readonly failure?: BuildFailure;
  readonly log: string;
  /** How many steps there are, as told last. */
  readonly steps: number;
}

/** Builds to the end; a build that fails is an outcome, not an error. */
export async function build({ cri }: TestShim, request: Draft<BuildImageRequest>): Promise<BuildOutcome> {
  let log = '';
  let steps = 0;
  let end: Pick<BuildOutcome, 'image' | 'failure'> = {};
  for await (const message of cri.node.buildImage(request)) {
    log += message.log;
    if (message.step > 0) steps = message.steps;
    if (message.image) end = { image: message.image };
    if (message.failure) end = { failure: message.failure };
  }
  return { ...end, log, steps };
}

/** Puts images into the shim under the names that Dockerfiles call them. */
export async function importImages({ cri, instance }: TestShim, images: readonly BaseImage[]): Promise<void> {
  for (const { name, image } of images) {
    const folder = mkdtempSync(join(instance.home, `${name}-`));
    writeOciLayout(folder, image);
    await cri.node.importImage({ path: folder, references: [name] });
  }
}

/** What the shim hands out as the image. */
export async function readImage(
  { cri, instance }: TestShim,
  image: string,
): Promise<ReturnType<typeof readImageArchive>> {
  const folder = join(instance.home, 'exported');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${image.replaceAll(/\W/g, '_')}.tar`);
  const pieces: Buffer[] = [];
  for await (const { data } of cri.node.exportImages({ images: [image], format: 'docker-archive' })) pieces.push(data);
  writeFileSync(path, Buffer.concat(pieces));
  return readImageArchive(path);
}
