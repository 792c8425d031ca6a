// Image: bytes of a container image, pulled, built or imported, kept on the nodes that need them.
import { z } from 'zod';
import { AGE_COLUMN, MESSAGE_COLUMN, readyColumn, REASON_COLUMN } from './columns.ts';
import {
  absolutePath,
  count,
  countSet,
  digest,
  imageReference,
  list,
  listMap,
  listSet,
  objectName,
  pattern,
  platform,
  relativePath,
  seconds,
  statusBase,
  stringMap,
  time,
  withRules,
} from './fields.ts';
import { GROUP, VERSION, type CustomKind, type KubernetesObject } from './kind.ts';

const secretNames = () => listMap(z.object({ name: objectName().describe('Name of the Secret.') }), ['name'], 16);

const BuildContext = withRules(
  z.object({
    inline: z
      .record(z.string(), z.string())
      .optional()
      .describe('The files themselves: path below the context to text.'),
    hostPath: absolutePath().optional().describe('A folder of the node in nodeName.'),
    nodeName: objectName()
      .optional()
      .describe('The node that hostPath, or a repository at file://, is on; may be left out on a cluster of one node.'),
    archive: digest().optional().describe('Digest of an uploaded tar: that of an Archive of the namespace.'),
    git: z
      .string()
      .max(2048)
      .regex(/^(https?|ssh|git|file):\/\/[!-~]+$|^git@[-a-zA-Z0-9.]+:[!-~]+$/)
      .optional()
      .describe('URL of a git repository; #ref:folder at its end picks a ref and a folder.'),
  }),
  {
    rule: `${countSet('inline', 'hostPath', 'archive', 'git')} == 1`,
    message: 'exactly one of inline, hostPath, archive and git must be set',
  },
  {
    rule: "!has(self.nodeName) || has(self.hostPath) || (has(self.git) && self.git.startsWith('file://'))",
    message: 'needs hostPath, or git with a URL that begins with file://',
    fieldPath: '.nodeName',
  },
);

const Build = withRules(
  z.object({
    context: BuildContext.describe('Where the files of the build come from.'),
    dockerfile: relativePath().default('Dockerfile').describe('Path of the Dockerfile below the context.'),
    dockerfileInline: z.string().max(1_048_576).optional().describe('Text of the Dockerfile, instead of a file.'),
    target: z
      .string()
      .max(128)
      .regex(/^[a-zA-Z0-9][-a-zA-Z0-9_.]*$/)
      .optional()
      .describe('Stage to build; the last unless said.'),
    args: stringMap().optional().describe('Values of ARG instructions. Not for secrets: they stay in the history.'),
    secrets: listMap(
      z.object({
        id: z
          .string()
          .min(1)
          .max(128)
          .regex(/^[-a-zA-Z0-9_.]+$/)
          .describe('Id that RUN --mount=type=secret names.'),
        secretName: objectName().describe('Name of a Secret in the same namespace.'),
        key: z.string().min(1).max(253).optional().describe('Key in the Secret; the id unless said.'),
      }),
      ['id'],
      64,
    )
      .optional()
      .describe('Secrets that RUN instructions may mount.'),
    labels: stringMap().optional().describe('Labels that the image gets beside those of LABEL instructions.'),
    noCache: z.boolean().default(false).describe('Run every instruction anew.'),
    pull: z.boolean().default(false).describe('Ask the registries for base images that are on the node, too.'),
    network: objectName()
      .default('default')
      .describe('Network of the namespace that RUN instructions are on; none = loopback alone.'),
    cacheFrom: listSet(imageReference(), 16)
      .optional()
      .describe('Images in registries whose layers are taken where they fit, instead of running a step.'),
    cacheTo: imageReference().optional().describe('Where to leave the layers of this build, for cacheFrom of others.'),
    rebuiltAt: time().optional().describe('Any new value builds it once more.'),
    platform: platform().optional().describe("Platform to build for, e.g. linux/arm64; the node's unless said."),
  }),
  {
    rule: "!has(self.dockerfileInline) || self.dockerfile == 'Dockerfile'",
    message: 'dockerfile and dockerfileInline cannot both be set',
    fieldPath: '.dockerfileInline',
  },
);

const Import = withRules(
  z.object({
    hostPath: absolutePath().optional().describe('A file or folder of the node in nodeName.'),
    nodeName: objectName()
      .optional()
      .describe('The node that hostPath is on; may be left out on a cluster of one node.'),
    archive: digest().optional().describe('Digest of an uploaded tar: that of an Archive of the namespace.'),
    config: z
      .object({
        command: list(z.string(), 4096).optional().describe('The ENTRYPOINT.'),
        args: list(z.string(), 4096).optional().describe('The CMD.'),
        env: listMap(
          z.object({
            name: z
              .string()
              .min(1)
              .max(4096)
              .regex(/^[ -<>-~]+$/)
              .describe('Name of the variable.'),
            value: z.string().describe('Its value.'),
          }),
          ['name'],
          4096,
        )
          .optional()
          .describe('The ENV.'),
        workingDir: pattern('^/[^\\x00]*$', 4096).optional().describe('The WORKDIR.'),
        user: z.string().max(140).optional().describe('The USER.'),
        exposedPorts: listSet(z.string().regex(/^[0-9]{1,5}(\/(tcp|udp))?$/), 128)
          .optional()
          .describe('The EXPOSEd ports, e.g. 80/tcp.'),
        volumes: listSet(absolutePath(), 128).optional().describe('The VOLUME paths.'),
        labels: stringMap().optional().describe('The LABELs.'),
        stopSignal: z.string().max(16).optional().describe('The STOPSIGNAL.'),
      })
      .optional()
      .describe('Configuration for a root file system tar, which has none of its own.'),
  }),
  { rule: 'has(self.hostPath) != has(self.archive)', message: 'exactly one of hostPath and archive must be set' },
  { rule: '!has(self.nodeName) || has(self.hostPath)', message: 'needs hostPath', fieldPath: '.nodeName' },
);

export const ImageSpec = withRules(
  z.object({
    reference: imageReference()
      .optional()
      .describe(
        'Pull this image from its registry: [registry/]repository[:tag][@digest]. Exactly one of reference, build and import; a built or imported image gets its names from tags.',
      ),
    pullPolicy: z
      .enum(['IfNotPresent', 'Always', 'Never'])
      .default('IfNotPresent')
      .describe('When the registry is asked, for a pulled image.'),
    imagePullSecrets: secretNames()
      .optional()
      .describe(
        'Secrets of type kubernetes.io/dockerconfigjson with credentials for the registry; of a build, for those of its base images and cache.',
      ),
    refreshSeconds: seconds(10)
      .optional()
      .describe(
        'Ask the registry this often where the tag points now; of a build, ask git whether it has another commit, or build from the host path (or, with pull, from perhaps newer base images) again. Absent = never.',
      ),
    build: Build.optional().describe('Build it from a Dockerfile.'),
    import: Import.optional().describe('Take it from an OCI layout, a docker-archive or a root file system tar.'),
    tags: listSet(imageReference(), 256).optional().describe('Further references that the image answers to.'),
    push: listMap(
      z.object({
        reference: imageReference().describe('Where to push.'),
        secretName: objectName().optional().describe('Secret of type kubernetes.io/dockerconfigjson with credentials.'),
      }),
      ['reference'],
      64,
    )
      .optional()
      .describe('Registries that get a copy.'),
    prepull: z
      .object({ nodeSelector: stringMap().optional().describe('Labels of the nodes; all nodes unless said.') })
      .optional()
      .describe('Bring the image to these nodes before a Container asks for it.'),
    retain: z.boolean().default(false).describe('Keep the bytes on the nodes when nothing uses them.'),
  }),
  {
    rule: `${countSet('reference', 'build', 'import')} == 1`,
    message: 'exactly one of reference, build and import must be set',
  },
);
export type ImageSpec = z.infer<typeof ImageSpec>;
export type ImageSpecInput = z.input<typeof ImageSpec>;

export const ImageStatus = z.object({
  reference: z
    .string()
    .optional()
    .describe('The reference, written out in full; the first of tags for a built or imported image.'),
  tags: list(z.string(), 256)
    .optional()
    .describe('All references the image answers to, written out in full; none that means another Image.'),
  digest: digest().optional().describe('Digest of its manifest (of the index, for an image of several platforms).'),
  sizeBytes: count().optional().describe('Size of the layers as stored.'),
  size: z.string().optional().describe('The same for people, e.g. 3.1MB.'),
  layers: list(
    z.object({ digest: digest().describe('Digest of the layer.'), sizeBytes: count().describe('Its size as stored.') }),
    1024,
  )
    .optional()
    .describe('The layers, lowest first.'),
  platform: z.string().optional().describe('Platform it is for, e.g. linux/amd64.'),
  config: z
    .object({
      entrypoint: list(z.string(), 4096).optional().describe('The ENTRYPOINT.'),
      cmd: list(z.string(), 4096).optional().describe('The CMD.'),
      env: list(z.string(), 4096).optional().describe('The ENV, as NAME=value.'),
      exposedPorts: list(z.string(), 1024).optional().describe('The EXPOSEd ports, as 80/tcp.'),
      volumes: list(z.string(), 1024).optional().describe('The VOLUME paths.'),
      labels: stringMap().optional().describe('The LABELs.'),
      user: z.string().optional().describe('The USER.'),
      workingDir: z.string().optional().describe('The WORKDIR.'),
      stopSignal: z.string().optional().describe('The STOPSIGNAL.'),
    })
    .optional()
    .describe('What the image says about how it is run.'),
  history: list(
    z.object({
      createdBy: z.string().optional().describe('The instruction.'),
      sizeBytes: count().optional().describe('Size of its layer; 0 for none.'),
      created: z.string().optional().describe('When it was made.'),
    }),
    1024,
  )
    .optional()
    .describe('How it was made, oldest first.'),
  nodes: listSet(z.string(), 8192).optional().describe('Names of the nodes that hold it.'),
  progress: z
    .object({
      phase: z
        .enum(['Resolving', 'Pulling', 'Unpacking', 'Building', 'Importing', 'Pushing', 'Done'])
        .describe('What is going on.'),
      completedBytes: count().optional().describe('Bytes that are there.'),
      totalBytes: count().optional().describe('Bytes in all.'),
      step: z.string().optional().describe('The step of the build.'),
    })
    .optional()
    .describe('How far it is.'),
  pushed: listMap(
    z.object({
      reference: z.string().describe('Where to, written out in full.'),
      digest: digest().describe('Digest of the manifest at the registry.'),
      imageDigest: digest()
        .optional()
        .describe('Digest of the manifest on the node, where that is another: layers were compressed on the way.'),
    }),
    ['reference'],
    64,
  )
    .optional()
    .describe('Pushes that are done; one is done anew when the image, not the registry, has changed.'),
  build: z
    .object({
      inputs: z.string().describe('Hash of what it was built from: a build of other inputs is another one.'),
      commit: z.string().optional().describe('The commit of a git context.'),
      cachedSteps: count().optional().describe('Steps whose result was there already.'),
      startedAt: time().optional().describe('When it was begun.'),
      finishedAt: time().optional().describe('When it was done.'),
    })
    .optional()
    .describe('The build that the image comes from.'),
  waitsFor: z.string().optional().describe('The image without which it could not be built the last time.'),
  buildLog: z.string().optional().describe('How to read the log of the build.'),
  lacking: listMap(
    z.object({
      nodeName: z.string().describe('Name of the node.'),
      reason: z.string().describe('Why, as one word.'),
      message: z.string().describe('Why, as a sentence.'),
    }),
    ['nodeName'],
    8192,
  )
    .optional()
    .describe('Nodes that are to have it by prepull and could not get it yet.'),
  resolvedAt: time().optional().describe('When the registry was last asked.'),
  ...statusBase(
    'Ready (the bytes are there, whatever push does), one of Pulled, Built and Imported, Pushed, Prepulled, Dangling, ReferencesTaken (while a reference of it means another Image of the namespace)',
  ),
});
export type ImageStatus = z.infer<typeof ImageStatus>;

/** Value of spec.build.network: RUN instructions have loopback alone. */
export const NO_NETWORK = 'none';

/** Annotation: the node that fetches the Image and writes its status. */
export const PULL_NODE_ANNOTATION = 'windlass.dev/pull-node';

export interface Image extends KubernetesObject {
  spec: ImageSpec;
  status?: ImageStatus;
}

export const imageKind: CustomKind<Image> = {
  group: GROUP,
  version: VERSION,
  kind: 'Image',
  plural: 'images',
  singular: 'image',
  namespaced: true,
  shortNames: ['img'],
  categories: ['windlass'],
  description: 'Image is a container image that is pulled, built or imported, and kept on the nodes that need it.',
  spec: ImageSpec,
  status: ImageStatus,
  specRules: [],
  columns: [
    { name: 'Reference', type: 'string', jsonPath: '.status.reference', description: 'What it answers to.' },
    readyColumn('Whether the bytes are there.'),
    REASON_COLUMN,
    { name: 'Size', type: 'string', jsonPath: '.status.size', description: 'Size of its layers as stored.' },
    { name: 'Digest', type: 'string', jsonPath: '.status.digest', priority: 1, description: 'Digest of its manifest.' },
    {
      name: 'Nodes',
      type: 'string',
      jsonPath: '.status.nodes[*]',
      priority: 1,
      description: 'The nodes that hold it.',
    },
    MESSAGE_COLUMN,
    AGE_COLUMN,
  ],
  selectableFields: ['.spec.reference', '.status.digest'],
};
