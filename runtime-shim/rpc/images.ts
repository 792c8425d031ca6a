// CRI's ImageService over the images of this node.
import type { Draft, ImageSpec } from '../../cri/messages.ts';
import type {
  AuthConfig,
  Image,
  ImageFsInfoResponse,
  ImageStatusRequest,
  ImageStatusResponse,
  ListImagesRequest,
  ListImagesResponse,
  PullImageRequest,
  PullImageResponse,
  RemoveImageRequest,
} from '../../cri/stats-messages.ts';
import { requireField } from '../../cri/presence.ts';
import type { CallContext } from '../../cri/services.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { ImageRecord, RegistryAuth } from '../images/image-service.ts';
import { requireDiskSpace } from '../storage/disk-reserve.ts';
import type { Shim } from './deps.ts';
import { nanoseconds } from './status-messages.ts';

export async function listImages(shim: Shim, { filter }: ListImagesRequest): Promise<Draft<ListImagesResponse>> {
  return { images: selectImages(shim, filter).map(toImage) };
}

export function selectImages(shim: Shim, filter: ListImagesRequest['filter']): readonly ImageRecord[] {
  const name = filter?.image?.image ?? '';
  return name === '' ? shim.images.list() : [shim.images.find(name)].flatMap((image) => image ?? []);
}

/** An absent image is an empty answer. */
export async function imageStatus(shim: Shim, request: ImageStatusRequest): Promise<Draft<ImageStatusResponse>> {
  const image = shim.images.find(nameOf(request.image));
  return {
    image: image ? toImage(image) : null,
    info: image && request.verbose ? { info: JSON.stringify(describeImage(image)) } : {},
  };
}

/** What the verbose status tells of an image beyond CRI's own fields. */
function describeImage({ manifestDigest, platform, layers, config }: ImageRecord): object {
  return { manifestDigest, platform, layers, imageSpec: config };
}

export async function pullImage(
  shim: Shim,
  request: PullImageRequest,
  { signal }: CallContext,
): Promise<PullImageResponse> {
  const handler = request.image?.runtimeHandler ?? '';
  if (handler !== '' && handler !== shim.runtime.kind) {
    throw new WindlassError('Invalid', `unknown runtime handler ${JSON.stringify(handler)}`);
  }
  requireDiskSpace(shim.instance.home, shim.storage.reserve, 'an image');
  const image = await shim.images.pull(nameOf(request.image), toRegistryAuth(request.auth), { signal });
  return { imageRef: image.id };
}

export async function removeImage(shim: Shim, request: RemoveImageRequest): Promise<object> {
  await shim.images.remove(nameOf(request.image));
  return {};
}

export async function imageFsInfo(shim: Shim): Promise<Draft<ImageFsInfoResponse>> {
  const { mountpoint, usedBytes, inodesUsed } = await shim.images.usage();
  const usage = {
    timestamp: nanoseconds(shim.clock.now()),
    fsId: { mountpoint },
    usedBytes: { value: usedBytes },
    inodesUsed: { value: inodesUsed },
  };
  return { imageFilesystems: [usage], containerFilesystems: [usage] };
}

const nameOf = (spec: ImageSpec | null): string => requireField(requireField(spec, 'image').image, 'image.image');

/** CRI's credentials, `auth` being base64 of user:password; undefined when none are given. */
export function toRegistryAuth(auth: AuthConfig | null): RegistryAuth | undefined {
  if (!auth) return undefined;
  const [user = '', ...rest] = auth.auth === '' ? [] : Buffer.from(auth.auth, 'base64').toString('utf8').split(':');
  const username = auth.username || user;
  const password = auth.password || rest.join(':').replaceAll('\0', '');
  const given = {
    ...(username ? { username, password } : {}),
    ...(auth.identityToken ? { identityToken: auth.identityToken } : {}),
    ...(auth.registryToken ? { registryToken: auth.registryToken } : {}),
  };
  return Object.keys(given).length > 0 ? given : undefined;
}

/** CRI's view of an image: its user as a number, or else as a name. */
export function toImage(image: ImageRecord): Draft<Image> {
  const user = (image.config.config.User ?? '').split(':')[0] ?? '';
  return {
    id: image.id,
    repoTags: image.repoTags,
    repoDigests: image.repoDigests,
    size: image.sizeBytes,
    uid: /^\d+$/.test(user) ? { value: Number(user) } : null,
    username: /^\d+$/.test(user) ? '' : user,
    spec: { image: image.id },
    pinned: image.isPinned,
  };
}
