import { readVersion } from '../../lib/version.ts';
import { arch, platform, version } from 'node:process';

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** GET /version. The Kubernetes version whose clients this server is made for; clients choose their dialect by it. */
export const VERSION = {
  major: '1',
  minor: '32',
  gitVersion: `v1.32.4+windlass-${readVersion()}`,
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '2026-11-23T00:00:00Z',
  goVersion: `node ${version}`,
  compiler: 'node',
  platform: `${platform}/${ARCHITECTURES[arch] ?? arch}`,
} as const;
