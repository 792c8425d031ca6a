// A process of its own that runs a step until it is killed, for tests of what it leaves: argv is the folder and the OCI
// runtime. Tells `up` once the command runs.
import { openTestSteps } from './build-steps.ts';

const [root = '', ociRuntime = ''] = process.argv.slice(2);
const steps = await openTestSteps({ ociRuntime, root });
const stepRoot = steps.openRoot([{ name: 'data/image', content: 'of the image\n' }]);
await steps.run(stepRoot, 'echo x > /data/f; echo y > /cache/f; setsid sleep 1000 & echo up; wait', {
  operation: { volumes: ['/data'] },
  mounts: [
    {
      ...{ type: 'cache', target: '/cache', id: 'kept', source: '/', sharing: 'locked', isReadOnly: false },
      ...{ mode: 0o755, uid: 0, gid: 0 },
    },
    { type: 'tmpfs', target: '/fast' },
    { type: 'secret', id: 'token', target: '/run/secrets/token', isRequired: true, mode: 0o400, uid: 0, gid: 0 },
  ],
  secrets: new Map([['token', Buffer.from('s3cret-of-the-test')]]),
  onOutput: (line) => void process.stdout.write(`${line}\n`),
});
