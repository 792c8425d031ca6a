// Instructions that change the file system: what they ask for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build, failure, lastCopy, lastRun, lastStep, rules } from '../build-stages.ts';

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Message of each line after `FROM a AS x` and `FROM b`, without its place, which is line 3. */
function checkFailures(cases: Readonly<Record<string, string>>): void {
  const found = Object.keys(cases).map((line) => [
    line,
    failure(`FROM a AS x\nFROM b\n${line}`).replace('Dockerfile:3:1: ', ''),
  ]);
  assert.deepEqual(Object.fromEntries(found), cases);
}

test('RUN runs text below the shell and lists as they are, with all there is so far', () => {
  const lines = 'ENV E=1\nARG A=2 B\nARG E=3\nUSER u\nWORKDIR /w\nVOLUME /v x\nRUN echo $E "$A"';
  const { operation, createdBy, text } = lastStep(lines, { args: { HTTP_PROXY: 'p', A: 'a' } });
  assert.deepEqual(operation, {
    kind: 'run',
    args: ['/bin/sh', '-c', 'echo $E "$A"'],
    env: [PATH, 'E=1', 'A=a'],
    proxyEnv: ['HTTP_PROXY=p', 'http_proxy=p'],
    cwd: '/w',
    user: 'u',
    mounts: [],
    network: 'default',
    volumes: ['/v', '/x'],
  });
  assert.equal(createdBy, 'RUN |3 A=a B= E=1 /bin/sh -c echo $E "$A"');
  assert.equal(text, 'RUN echo $E "$A"');
  const run = lastRun('SHELL ["/bin/bash", "-c"]\nRUN --network=none ["a", "$b"]');
  assert.deepEqual([run.args, run.network, run.cwd, run.user], [['a', '$b'], 'none', '/', '']);
  assert.deepEqual(lastRun('SHELL ["/bin/bash", "-c"]\nRUN a').args, ['/bin/bash', '-c', 'a']);
});

test('RUN shows proxies in the history only when an ARG declares them', () => {
  const args = { HTTPS_PROXY: 'secret' };
  assert.equal(lastStep('RUN x', { args }).createdBy, 'RUN /bin/sh -c x');
  const declared = lastStep('ARG HTTPS_PROXY\nRUN x', { args });
  assert.equal(declared.createdBy, 'RUN |1 HTTPS_PROXY=secret /bin/sh -c x');
  const operation = declared.operation?.kind === 'run' ? declared.operation : undefined;
  assert.deepEqual([operation?.env, operation?.proxyEnv], [[PATH, 'HTTPS_PROXY=secret'], ['https_proxy=secret']]);
});

test('RUN takes a here-document as its command, as a script, or as the input of one', () => {
  const plain = lastStep('RUN <<EOF\necho $A\n  b\nEOF');
  assert.deepEqual(plain.operation?.kind === 'run' && plain.operation.args, ['/bin/sh', '-c', 'echo $A\n  b\n']);
  assert.deepEqual([plain.text, plain.createdBy], ['RUN <<EOF (echo $A...)', 'RUN /bin/sh -c echo $A\n  b\n']);
  assert.deepEqual(lastRun('RUN <<-EOF\n\tone\n\t\ttwo\n\tEOF').args.at(-1), 'one\ntwo\n');
  const script = lastRun('RUN <<script.py\n#!/usr/bin/env python3\nprint(1)\nscript.py');
  assert.deepEqual(
    [script.args, script.script],
    [['/bin/sh', '-c', '/dev/pipes/script.py'], { name: 'script.py', content: '#!/usr/bin/env python3\nprint(1)\n' }],
  );
  assert.equal(lastRun('RUN cat <<-A <<"B" > /x\n\ta\n\tA\n$b\nB').args.at(-1), 'cat <<-A <<"B" > /x\n\ta\nA\n$b\nB');
  assert.match(failure('FROM a\nRUN <<"a;b"\n#!/bin/sh\na;b'), /"a;b" cannot be the name of a script/);
});

test('RUN refuses a command that no kernel takes', () => {
  assert.match(
    failure(`FROM a\nRUN <<EOF\n${'true\n'.repeat(30_000)}EOF`),
    /^Dockerfile:2:1: the command has 150000 characters/,
  );
});

test('RUN --mount: the defaults and options of each type', () => {
  const mounts = (...written: string[]) =>
    lastRun(`WORKDIR /w\nARG V=9\nRUN ${written.map((mount) => `--mount=${mount}`).join(' ')} x`).mounts;
  const owner = { uid: 0, gid: 0 };
  assert.deepEqual(mounts('target=.', 'from=img,source=/a/./b,dst=/d,rw', 'type=bind,src=x,destination=y,ro=false'), [
    { type: 'bind', target: '/w', from: { kind: 'context' }, source: '/', isWritable: false },
    {
      type: 'bind',
      target: '/d',
      from: { kind: 'image', reference: 'docker.io/library/img:latest' },
      source: '/a/b',
      isWritable: true,
    },
    { type: 'bind', target: '/w/y', from: { kind: 'context' }, source: '/x', isWritable: true },
  ]);
  assert.deepEqual(
    mounts(
      'type=cache,target=/c',
      'type=CACHE,target=/d,id=n$V,sharing=Locked,mode=0700,uid=1,gid=2,ro',
      'type=cache,target=/e,from=img,source=s',
    ),
    [
      {
        type: 'cache',
        target: '/c',
        id: '/c',
        source: '/',
        sharing: 'shared',
        isReadOnly: false,
        mode: 0o755,
        ...owner,
      },
      {
        type: 'cache',
        target: '/d',
        id: 'n9',
        source: '/',
        sharing: 'locked',
        isReadOnly: true,
        mode: 0o700,
        uid: 1,
        gid: 2,
      },
      {
        type: 'cache',
        target: '/e',
        id: '/e',
        from: { kind: 'image', reference: 'docker.io/library/img:latest' },
        source: '/s',
        sharing: 'shared',
        isReadOnly: false,
        mode: 0o755,
        ...owner,
      },
    ],
  );
  assert.deepEqual(
    mounts('type=tmpfs,target=/t', 'type=tmpfs,target=/u,size=1.5MiB', 'type=bind,from=scratch,rw,target=/s'),
    [
      { type: 'tmpfs', target: '/t' },
      { type: 'tmpfs', target: '/u', sizeBytes: 1_572_864 },
      { type: 'tmpfs', target: '/s' },
    ],
  );
  assert.deepEqual(
    mounts(
      'type=secret,id=a/b',
      'type=secret,target=/k,mode=0440,required',
      'type=secret,id=t,env=TOKEN',
      'type=secret,id=B,env=,target=rel',
      'type=secret,src=n',
    ),
    [
      { type: 'secret', id: 'a/b', target: '/run/secrets/b', isRequired: false, mode: 0o400, ...owner },
      { type: 'secret', id: 'k', target: '/k', isRequired: true, mode: 0o440, ...owner },
      { type: 'secret', id: 't', env: 'TOKEN', isRequired: false, mode: 0o400, ...owner },
      { type: 'secret', id: 'B', target: '/w/rel', env: 'B', isRequired: false, mode: 0o400, ...owner },
      { type: 'secret', id: 'n', target: '/run/secrets/n', isRequired: false, mode: 0o400, ...owner },
    ],
  );
});

test('RUN --mount takes files from stages, and options with commas in quotes', () => {
  const run = build(
    'FROM a AS x\nFROM b\nRUN --mount=from=X,target=/a --mount=from=0,target=/b --mount=\\"source=c,d\\",target=/c x',
  ).steps.at(-1)?.operation;
  assert.deepEqual(
    run?.kind === 'run' && run.mounts.map((mount) => mount.type === 'bind' && [mount.from, mount.source]),
    [
      [{ kind: 'stage', index: 0 }, '/'],
      [{ kind: 'stage', index: 0 }, '/'],
      [{ kind: 'context' }, '/c,d'],
    ],
  );
});

test('RUN --mount refuses what is wrong, by name', () => {
  const cases: Readonly<Record<string, string>> = {
    'type=ssh': 'mounts of type ssh are not supported: give the key as a secret',
    'type=volume,target=/a': 'type "volume" is none of bind, cache, tmpfs, secret, ssh',
    'type=tmfs,target=/a': 'type "tmfs" is none of bind, cache, tmpfs, secret, ssh: did you mean tmpfs?',
    'type=cache': 'a target is needed',
    'type=bind,source=a': 'a target is needed',
    'target=/': 'the target must not be /',
    'target=/a/..': 'the target must not be /',
    'target=/a,source=../b': '"../b" leads out of the build context',
    'target=/a,size=1m':
      'option size is none of a mount of type bind, which has target, source, from, readonly, readwrite',
    'target=/a,ro=maybe': 'readonly must be true or false, not "maybe"',
    'target=/a,ro,rw': 'it is either readonly or readwrite',
    'target=/a,from=scratch': 'scratch has no files: mount a tmpfs, or add rw for an empty folder',
    'type=cache,target=/a,id=../x': 'id "../x" has . or .. between slashes',
    'type=cache,target=/a,id=x/./y': 'id "x/./y" has . or .. between slashes',
    [`type=cache,target=/a,id=${'x'.repeat(257)}`]: 'the id has more than 256 characters',
    'type=cache,target=/a,sharing=lockd': 'sharing "lockd" is none of shared, private, locked: did you mean locked?',
    'type=cache,target=/a,source=b': 'source needs a from',
    'type=cache,target=/a,mode=888': 'mode must be octal from 0 to 7777, not "888"',
    'type=cache,target=/a,uid=-1': 'uid must be a number from 0 to 4294967294, not "-1"',
    'type=cache,target=/a,gid=4294967295': 'gid must be a number from 0 to 4294967294, not "4294967295"',
    'type=tmpfs,target=/a,ro': 'option readonly is none of a mount of type tmpfs, which has target, size, readwrite',
    'type=tmpfs,target=/a,rw=false': 'a tmpfs that cannot be written to is of no use',
    'type=tmpfs,target=/a,size=0': 'size must be a number of bytes, such as 64m or 1g, not "0"',
    'type=tmpfs,target=/a,size=big': 'size must be a number of bytes, such as 64m or 1g, not "big"',
    'type=secret': 'an id or a target is needed',
    'type=secret,id=a,env=B=C': '"B=C" is no name of a variable',
    'type=secret,id=a,src=b': 'source is another name of id: one of them is enough',
    'type=secret,id=a,ro=false': 'a secret cannot be written to',
    'type=secret,id=a,from=b':
      'option from is none of a mount of type secret, which has target, source, readonly, id, required, mode, uid, gid, env',
  };
  const found = Object.keys(cases).map((mount) => {
    const message = failure(`FROM a\nRUN --mount=${mount} x`);
    return [mount, message.replace(`Dockerfile:2:1: --mount=${mount}: `, '')];
  });
  assert.deepEqual(Object.fromEntries(found), cases);
  assert.match(
    failure('FROM a\nRUN --mount=target=/a --mount=type=tmpfs,target=/b/../a x'),
    /another mount is on \/a already$/,
  );
});

test('RUN warns when it works below a volume or names a path below one', () => {
  const of = (line: string) => rules(`FROM a\nVOLUME /data/db\n${line}`);
  assert.deepEqual(
    [
      'RUN touch /data/db/x',
      'RUN ls "/data/db"',
      'WORKDIR /data/db/y\nRUN x',
      'RUN <<E\nrm /data/db/*\nE',
      'RUN ["cp", "a", "/data/db"]',
    ].map(of),
    Array(5).fill(['WriteBelowVolume']),
  );
  assert.deepEqual(['RUN touch /data/dbx /x/data/db', 'RUN ls /data', 'COPY x /data/db/x'].map(of), [[], [], []]);
  assert.deepEqual(rules('FROM a\nRUN > /base/x', { base: { Volumes: { '/base/': {} } } }), ['WriteBelowVolume']);
});

test("WORKDIR makes its folder, which is the user's", () => {
  const step = lastStep('USER u:g\nWORKDIR /a\nWORKDIR b/../$D', { base: { Env: ['D=c d'] } });
  assert.deepEqual(
    [step.operation, step.createdBy, step.state.config.WorkingDir],
    [{ kind: 'workdir', path: '/a/c d', user: 'u:g' }, 'WORKDIR /a/c d', '/a/c d'],
  );
  const root = lastStep('WORKDIR /a/..');
  assert.deepEqual([root.operation, root.createdBy, root.state.config.WorkingDir], [undefined, 'WORKDIR /', '/']);
  assert.equal(lastStep('WORKDIR ../../x', { base: { WorkingDir: '/y' } }).state.config.WorkingDir, '/x');
  assert.deepEqual(rules('FROM a\nWORKDIR x\nWORKDIR y'), ['WorkdirRelativePath']);
  assert.deepEqual(rules('FROM a\nWORKDIR /x\nWORKDIR y'), []);
});

test('COPY says from where, what, whereto and how', () => {
  const lines =
    'WORKDIR /w\nARG N=x U=u M=640\nCOPY --chown=$U:g --chmod=$M --link --parents --exclude=$N/*.md a/$N* "b\\*" dir/';
  const { operation, createdBy } = lastStep(lines);
  assert.deepEqual(operation, {
    kind: 'copy',
    instruction: 'COPY',
    from: { kind: 'context' },
    sources: ['a/x*', 'b\\*'],
    files: [],
    destination: '/w/dir/',
    chown: 'u:g',
    chmod: '640',
    link: true,
    parents: true,
    exclude: ['$N/*.md'],
    keepGitDir: false,
  });
  assert.equal(createdBy, 'COPY --parents --chown=u:g --chmod=640 a/x* b\\* dir/');
  assert.deepEqual(lastCopy('COPY --from=i@sha256:' + 'a'.repeat(64) + ' /a /b').from, {
    kind: 'image',
    reference: `docker.io/library/i@sha256:${'a'.repeat(64)}`,
  });
  const staged = build('FROM a AS x\nFROM b\nCOPY --from=X /a /b').steps.at(-1);
  assert.deepEqual(
    [staged?.operation?.kind === 'copy' && staged.operation.from, staged?.createdBy],
    [{ kind: 'stage', index: 0 }, 'COPY /a /b'],
  );
});

test('COPY keeps the slash that makes its destination a folder', () => {
  const destinations = ['/a', '/a/', '.', './', 'b', 'b/.', '..', '/', '/..', '/a/../c'];
  assert.deepEqual(
    destinations.map((destination) => lastCopy(`WORKDIR /w/v\nCOPY x ${destination}`).destination),
    ['/a', '/a/', '/w/v/', '/w/v/', '/w/v/b', '/w/v/b/', '/w/', '/', '/', '/c'],
  );
  assert.equal(lastCopy('COPY x $NONE').destination, '/');
  assert.equal(lastCopy('WORKDIR /w\nCOPY x $NONE').destination, '/w/');
});

test('COPY writes here-documents, expanded unless their names are quoted', () => {
  const { operation, createdBy } = lastStep(
    'ENV V="a \'b\'"\nCOPY <<one <<"two" <<-three x /d/\n"$V" \\$V\none\n$V\ntwo\n\t\tc\n\tthree',
  );
  assert.deepEqual(operation?.kind === 'copy' && [operation.files, operation.sources], [
    [
      { name: 'one', content: '"a \'b\'" $V\n' },
      { name: 'two', content: '$V\n' },
      { name: 'three', content: 'c\n' },
    ],
    ['x'],
  ]);
  assert.equal(createdBy, 'COPY x <<one <<two <<three /d/');
  assert.match(failure('FROM a\nCOPY <<../x /d\n../x'), /"\.\.\/x" cannot be the name of a file/);
});

test('ADD takes addresses, and says what is to be done with archives and repositories', () => {
  const sum = `sha256:${'0'.repeat(64)}`;
  const fetched = lastCopy(`ADD --checksum=${sum} --unpack https://h.example/a.tar.gz /b`);
  assert.deepEqual(
    [fetched.instruction, fetched.sources, fetched.checksum, fetched.unpack, fetched.keepGitDir],
    ['ADD', ['https://h.example/a.tar.gz'], sum, true, false],
  );
  const cloned = lastCopy(`ADD --keep-git-dir --checksum=${'0'.repeat(40)} https://h.example/r.git#main:dir /b`);
  assert.deepEqual([cloned.keepGitDir, cloned.checksum?.length, cloned.unpack], [true, 40, undefined]);
  assert.equal(
    lastStep(`ADD --chown=1 git@h.example:r.git a /b/`).createdBy,
    'ADD --chown=1 git@h.example:r.git a /b/',
  );
  assert.deepEqual(lastCopy('ADD <<x /y\nz\nx').files, [{ name: 'x', content: 'z\n' }]);
});

test('COPY and ADD refuse sources, modes and digests that cannot be', () => {
  checkFailures({
    'COPY ../a /b': '"../a" leads out of the build context',
    'COPY a/../../b /c': '"a/../../b" leads out of the build context',
    'COPY /../a /b': '"/../a" leads out of the build context',
    'ADD ../a /b': '"../a" leads out of the build context',
    'COPY --from=x ../../etc/passwd /b': '',
    'COPY https://h.example/a /b': 'COPY does not fetch "https://h.example/a": ADD does',
    'COPY git@h.example:a.git /b': 'COPY does not fetch "git@h.example:a.git": ADD does',
    'ADD file:///etc/passwd /b':
      '"file:///etc/passwd": addresses of file:// are not fetched, those of http, https, git and ssh are',
    'ADD ftp://h.example/a /b':
      '"ftp://h.example/a": addresses of ftp:// are not fetched, those of http, https, git and ssh are',
    'COPY --chmod=8 a b': '--chmod must be octal from 0 to 7777, or symbolic such as u+x, not "8"',
    'COPY --chmod=u+rwX,go= a b': '',
    'COPY --chmod=u~x a b': '--chmod must be octal from 0 to 7777, or symbolic such as u+x, not "u~x"',
    'COPY --chmod=77777 a b': '--chmod must be octal from 0 to 7777, or symbolic such as u+x, not "77777"',
    'COPY --chown="a b" a b': '--chown must be USER or USER:GROUP, not "a b"',
    'ADD --checksum=sha256:0 a b': '--checksum needs exactly one source, an http, https or git address',
    'ADD --checksum=sha256:0 https://h/a https://h/b /c/':
      '--checksum needs exactly one source, an http, https or git address',
    'ADD --checksum=sha256:0 https://h/a b': '--checksum must be sha256: and 64 hex digits, not "sha256:0"',
    'ADD --checksum=abc https://h/a.git b': '--checksum must be the full id of a commit, not "abc"',
    'COPY "a b': 'cannot expand "\\"a": missing closing double quote',
  });
});

test('evaluate() is pure: the same again gives the same, and states before stay as they were', () => {
  const text = 'FROM a\nARG A=1\nENV B=$A\nLABEL c=$B\nEXPOSE 1\nVOLUME /v\nCMD ["x"]\nONBUILD USER u\nRUN x';
  const first = build(text);
  const copies = first.steps.map((step) => structuredClone({ ...step.state, plan: undefined }));
  assert.deepEqual(build(text).steps, first.steps);
  assert.deepEqual(
    first.steps.map((step) => ({ ...step.state, plan: undefined })),
    copies,
  );
});
