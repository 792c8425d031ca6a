// The images that the Dockerfiles of the corpus start from and copy from, made of Debian's busybox alone: nothing is
// pulled, and every builder is given the same ones.
import type { RunConfig } from '../../../oci/manifest.ts';
import { busyboxFiles, makeImage, type TarItem, type TestImage } from '../images.ts';

export interface BaseImage {
  /** As written in FROM. */
  readonly name: string;
  readonly image: TestImage;
}

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const config: RunConfig = { Env: [PATH], Cmd: ['sh'] };

/** Stands for Ubuntu's package manager: `install` leaves a program of the package's name. */
const APT_GET = `#!/bin/sh
for word do
  case $word in
    update | install | -*) ;;
    *) echo "#!/bin/sh" >/usr/bin/$word && chmod 755 /usr/bin/$word ;;
  esac
done
`;

const USERS = `root:x:0:0:root:/root:/bin/sh
www-data:x:33:33::/var/www:/bin/false
app:x:1000:1000::/home/app:/bin/sh
nobody:x:65534:65534::/:/bin/false
`;
const GROUPS = 'root:x:0:\nwww-data:x:33:\napp:x:1000:\nextra:x:2000:app\nnogroup:x:65534:\n';

/** busybox, ubuntu, parent (every field of a configuration is set), onbuild, tools (a few files, no shell). */
export function makeBaseImages(): BaseImage[] {
  const busybox = busyboxFiles().map((item): TarItem => {
    if (item.name === 'etc/passwd') return { ...item, content: USERS };
    if (item.name === 'etc/group') return { ...item, content: GROUPS };
    // Docker gives a hard link's mode to the file itself.
    return item.type === 'hardlink' ? { ...item, mode: 0o755 } : item;
  });
  const folder = (name: string, mode = 0o755): TarItem => ({ name: `${name}/`, type: 'directory', mode });
  const image = (name: string, config: RunConfig, ...layers: TarItem[][]): BaseImage => ({
    name,
    image: makeImage({ layers, config, createdBy: layers.map((_, index) => `layer ${index} of ${name}`) }),
  });
  return [
    image('busybox', config, busybox),
    image('ubuntu', config, busybox, [folder('usr/bin'), { name: 'usr/bin/apt-get', content: APT_GET, mode: 0o755 }]),
    image(
      'parent',
      {
        Env: [PATH, 'PARENT_ENV=from parent'],
        Cmd: ['parent-cmd'],
        Entrypoint: ['parent-entrypoint'],
        Labels: { parent: 'yes' },
        User: 'app',
        WorkingDir: '/parent-dir',
        ExposedPorts: { '80/tcp': {} },
        Volumes: { '/parent-data': {} },
        StopSignal: 'SIGUSR1',
        Healthcheck: {
          ...{ Test: ['CMD', 'check'], Interval: 7_000_000_000, Retries: 2 },
          ...{ Timeout: undefined, StartPeriod: undefined, StartInterval: undefined },
        },
      },
      busybox,
      [folder('parent-dir', 0o777), folder('parent-data', 0o777)],
    ),
    image(
      'onbuild',
      { ...config, OnBuild: ['ENV TRIGGERED=yes', 'RUN echo "$TRIGGERED" >/triggered', 'COPY a.txt /onbuild/'] },
      busybox,
    ),
    image('tools', { Env: [PATH] }, [
      folder('opt', 0o750),
      { name: 'opt/tool', content: '#!/bin/sh\necho tool\n', mode: 0o755, uid: 1000, gid: 2000 },
      { name: 'opt/link', type: 'symlink', linkName: 'tool', mode: 0o777 },
    ]),
  ];
}
