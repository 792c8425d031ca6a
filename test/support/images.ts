// Small images made in memory: tar layers from a list of entries, whole images, the forms in which they are imported.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { digestOf, type Digest } from '../../oci/digest.ts';
import { encodeTarHeader, endOfArchive, paddingFor, type TarHeaderFields } from '../../oci/layers/tar-writer.ts';
import type { Descriptor, RunConfig } from '../../oci/manifest.ts';
import { MEDIA_TYPES, type Compression } from '../../oci/media-types.ts';
import { hostPlatform } from '../../oci/platform.ts';

/** One entry of a tar: a file unless `type` says otherwise. */
export interface TarItem extends Omit<TarHeaderFields, 'type' | 'size'> {
  readonly type?: TarHeaderFields['type'];
  readonly content?: string | Buffer;
}

/** The bytes of a tar with these entries. */
export function makeTar(items: readonly TarItem[]): Buffer {
  const blocks = items.flatMap(({ content = '', type = 'file', ...fields }) => {
    const body = Buffer.from(content);
    const mode = fields.mode ?? (type === 'directory' ? 0o755 : 0o644);
    return [encodeTarHeader({ ...fields, type, mode, size: body.length }), body, paddingFor(body.length)];
  });
  return Buffer.concat([...blocks, endOfArchive()]);
}

export interface TestImage {
  readonly blobs: ReadonlyMap<Digest, Buffer>;
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly tars: readonly Buffer[];
}

export interface TestImageOptions {
  readonly layers?: readonly (readonly TarItem[] | Buffer)[];
  readonly config?: RunConfig;
  readonly compression?: Compression;
  /** Docker's media types instead of OCI's. */
  readonly isDocker?: boolean;
  readonly architecture?: string;
  /** How each layer came to be, as the image's history tells it; without, it has no history. */
  readonly createdBy?: readonly string[];
}

/** An image of the given layers (one file `hello` unless said). */
export function makeImage(options: TestImageOptions = {}): TestImage {
  const { compression = 'gzip', isDocker = false } = options;
  const layerItems = options.layers ?? [[{ name: 'hello', content: 'hello\n' }]];
  const tars = layerItems.map((items) => (Buffer.isBuffer(items) ? items : makeTar(items)));
  const blobs = new Map<Digest, Buffer>();
  const add = (bytes: Buffer, mediaType: string): Descriptor => {
    const digest = digestOf(bytes);
    blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const layerType = isDocker ? 'application/vnd.docker.image.rootfs.diff.tar' : MEDIA_TYPES.ociLayer;
  const suffix = { none: '', gzip: isDocker ? '.gzip' : '+gzip', zstd: isDocker ? '.zstd' : '+zstd' }[compression];
  const layers = tars.map((tar) => add(compress(tar, compression), `${layerType}${suffix}`));
  const config = add(
    Buffer.from(
      JSON.stringify({
        architecture: options.architecture ?? hostPlatform().architecture,
        os: 'linux',
        config: options.config ?? {},
        rootfs: { type: 'layers', diff_ids: tars.map((tar) => digestOf(tar)) },
        ...(options.createdBy === undefined ? {} : { history: historyOf(options.createdBy) }),
      }),
    ),
    isDocker ? MEDIA_TYPES.dockerConfig : MEDIA_TYPES.ociConfig,
  );
  const mediaType = isDocker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest;
  const manifest = add(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers })), mediaType);
  return { blobs, manifest, config, layers, tars };
}

const historyOf = (createdBy: readonly string[]): object[] =>
  createdBy.map((created_by) => ({ created: '2020-01-01T00:00:00Z', created_by }));

/** Writes `image` as an OCI layout below `folder`. */
export function writeOciLayout(folder: string, image: TestImage, name?: string): void {
  mkdirSync(join(folder, 'blobs/sha256'), { recursive: true });
  for (const [digest, bytes] of image.blobs) writeFileSync(join(folder, 'blobs', digest.replace(':', '/')), bytes);
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const annotations = name === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': name } };
  const manifests = [{ ...image.manifest, ...annotations }];
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
}

/** Writes `image` at `path` in the form of `docker save`. */
export function writeDockerArchive(path: string, image: TestImage, tags: readonly string[]): void {
  const configName = `${image.config.digest.slice(7)}.json`;
  const names = image.layers.map((_, index) => `layer${index}/layer.tar`);
  const manifest = [{ Config: configName, RepoTags: tags, Layers: names }];
  writeFileSync(
    path,
    makeTar([
      ...names.map((name, index) => ({ name, content: image.tars[index] as Buffer })),
      { name: configName, content: image.blobs.get(image.config.digest) as Buffer },
      { name: 'manifest.json', content: JSON.stringify(manifest) },
    ]),
  );
}

/** Debian's dynamic busybox with its libraries, users and the usual folders; applets are hard links. */
export function busyboxFiles(busybox = '/bin/busybox'): TarItem[] {
  const items: TarItem[] = ['bin', 'dev', 'etc', 'home', 'proc', 'root', 'run', 'sys', 'usr', 'var', 'var/log']
    .map((name): TarItem => ({ name: `${name}/`, type: 'directory' }))
    .concat([{ name: 'tmp/', type: 'directory', mode: 0o1777 }]);
  items.push(...programFiles(busybox, 'bin/busybox'));
  const applets = execFileSync(busybox, ['--list'], { encoding: 'utf8' }).split('\n').filter(Boolean);
  for (const applet of applets) {
    if (applet !== 'busybox')
      items.push({ name: `bin/${applet}`, type: 'hardlink', linkName: 'bin/busybox', mode: 0o755 });
  }
  const users = [
    'root:x:0:0:root:/root:/bin/sh',
    'www-data:x:33:33::/var/www:/bin/false',
    'nobody:x:65534:65534::/:/bin/false',
  ];
  items.push({ name: 'etc/passwd', content: `${users.join('\n')}\n` });
  items.push({ name: 'etc/group', content: 'root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n' });
  return items;
}

/** A program of this machine and every library it needs, at the paths the loader looks for. */
export function programFiles(path: string, name: string): TarItem[] {
  const items: TarItem[] = [{ name, content: readFileSync(path), mode: 0o755 }];
  // Of a static program it lists nothing, and fails.
  const { stdout } = spawnSync('ldd', [path], { encoding: 'utf8' });
  for (const [, library = ''] of stdout.matchAll(/(\/[^\s(]+)/g)) {
    if (!existsSync(library)) continue;
    items.push({ name: library.slice(1), content: readFileSync(realpathSync(library)), mode: 0o755 });
  }
  return items;
}

/** An image with busybox, running `command` (a shell unless said). */
export function makeBusyboxImage(config: RunConfig = { Cmd: ['sh'] }): TestImage {
  return makeImage({ layers: [busyboxFiles()], config: { Env: ['PATH=/bin'], ...config } });
}

/** Debian's nginx-light on port 80, or undefined when it is not installed. */
export function makeNginxImage(nginx = '/usr/sbin/nginx'): TestImage | undefined {
  if (!existsSync(nginx)) return undefined;
  const conf = [
    'worker_processes 1; error_log /dev/stderr; pid /run/nginx.pid; events {}',
    'http { access_log /dev/stdout; server { listen 80; root /usr/share/nginx/html; } }',
  ].join('\n');
  const folders = ['var/lib/nginx', 'var/log/nginx', 'usr/share/nginx/html', 'etc/nginx', 'run'];
  return makeImage({
    layers: [
      busyboxFiles(),
      [
        ...folders.map((name): TarItem => ({ name: `${name}/`, type: 'directory' })),
        ...programFiles(nginx, `usr/sbin/${basename(nginx)}`),
        { name: 'etc/nginx/nginx.conf', content: conf },
        { name: 'usr/share/nginx/html/index.html', content: 'Welcome to nginx!\n' },
      ],
    ],
    config: {
      Env: ['PATH=/usr/sbin:/bin'],
      Cmd: ['nginx', '-g', 'daemon off;'],
      ExposedPorts: { '80/tcp': {} },
      StopSignal: 'SIGQUIT',
    },
  });
}

/** Writes a tar of `items` at `path`, making its folder. */
export function writeTar(path: string, items: readonly TarItem[]): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, makeTar(items));
}

function compress(tar: Buffer, compression: Compression): Buffer {
  if (compression === 'gzip') return gzipSync(tar, { level: 1 });
  return compression === 'zstd' ? zstdCompressSync(tar) : tar;
}
