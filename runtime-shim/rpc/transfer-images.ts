// What CRI lacks for images that leave the node: push, export, and how they were made.
import type { Draft } from '../../cri/messages.ts';
import type {
  ExportImagesRequest,
  ImageHistoryResponse,
  PushImageRequest,
  PushImageResponse,
} from '../../cri/node-messages.ts';
import { requireField } from '../../cri/presence.ts';
import type { CallContext } from '../../cri/services.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { ExportFormat, ImageRecord, RegistryAuth } from '../images/image-service.ts';
import type { Shim } from './deps.ts';
import { findImage } from './lookup.ts';
import { progressStream } from './progress-stream.ts';

/** Pushes and tells how far it is. */
export function pushImage(
  shim: Shim,
  request: PushImageRequest,
  { signal }: CallContext,
): AsyncGenerator<Draft<PushImageResponse>> {
  const image = requireField(request.image, 'image');
  const reference = requireField(request.reference, 'reference');
  let latest: Draft<PushImageResponse> = {};
  return progressStream<Draft<PushImageResponse>, string>(
    (report) =>
      shim.images.push(image, reference, authOf(request), {
        signal,
        onProgress(progress) {
          latest = progress;
          if (progress.phase !== 'Done') report(progress);
        },
      }),
    (digest) => ({ ...latest, phase: 'Done', digest }),
  );
}

/** The tar of the images, in pieces. */
export async function* exportImages(
  shim: Shim,
  { images, format }: ExportImagesRequest,
  { signal }: CallContext,
): AsyncGenerator<{ data: Buffer }> {
  if (images.length === 0) throw new WindlassError('Invalid', 'images: must name at least one');
  for await (const data of shim.images.export(images, toFormat(format), signal)) yield { data };
}

/** Instructions of an image, newest first. */
export function imageHistory(shim: Shim, image: string): Draft<ImageHistoryResponse> {
  return { entries: historyOf(findImage(shim, requireField(image, 'image'))) };
}

/** Pairs the entries of the configuration with the layers: every entry that is not empty made the next one. */
export function historyOf({ config, layers }: ImageRecord): ImageHistoryResponse['entries'] {
  const entries: ImageHistoryResponse['entries'][number][] = [];
  let next = 0;
  for (const { created_by, created, comment, empty_layer } of config.history ?? []) {
    const layer = empty_layer ? undefined : layers[next++];
    entries.push({
      createdBy: created_by ?? '',
      created: created ?? '',
      comment: comment ?? '',
      sizeBytes: layer?.sizeBytes ?? 0,
      emptyLayer: layer === undefined,
      layerDigest: layer?.digest ?? '',
    });
  }
  // An image without history, or with too little of it, still has its layers.
  for (const { digest, sizeBytes } of layers.slice(next)) {
    entries.push({ createdBy: '', created: '', comment: '', sizeBytes, emptyLayer: false, layerDigest: digest });
  }
  return entries.toReversed();
}

/** The credentials in a request; undefined when there are none. */
export function authOf({
  username,
  password,
  identityToken,
}: Pick<PushImageRequest, 'username' | 'password' | 'identityToken'>): RegistryAuth | undefined {
  if (identityToken !== '') return { identityToken };
  return username === '' ? undefined : { username, password };
}

function toFormat(format: string): ExportFormat {
  if (format === '' || format === 'oci-layout') return 'oci-layout';
  if (format === 'docker-archive') return format;
  throw new WindlassError('Invalid', `format: want oci-layout or docker-archive, not ${JSON.stringify(format)}`);
}
