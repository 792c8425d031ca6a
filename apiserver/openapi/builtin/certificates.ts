// Requests for certificates.
import type { StructuralSchema } from '../../schema/structural.ts';
import { conditions, int32, kind, map, object, text, textList, time } from './fields.ts';

export const certificateSchemas: Readonly<Record<string, StructuralSchema>> = {
  'certificates.k8s.io/CertificateSigningRequest': kind(
    'CertificateSigningRequest asks for a certificate; it is approved or denied, then signed.',
    {
      spec: object(
        'What is asked for, and by whom.',
        {
          request: text('A PEM CERTIFICATE REQUEST (PKCS #10), in base64.', { format: 'byte' }),
          signerName: text(
            'Who signs: kubernetes.io/kube-apiserver-client-kubelet or kubernetes.io/kubelet-serving. Others wait for a signer of yours.',
          ),
          expirationSeconds: int32('How long the certificate should last; at least 600.'),
          usages: textList('What the key is for, e.g. digital signature, client auth.'),
          username: text('Who asks; set by the server.'),
          uid: text('Id of who asks; set by the server.'),
          groups: textList('Groups of who asks; set by the server.'),
          extra: map('Further facts of who asks; set by the server.', textList('Values.')),
        },
        ['request', 'signerName', 'usages'],
      ),
      status: object('What became of it.', {
        conditions: conditions({ lastUpdateTime: time('When the condition was written last.') }),
        certificate: text('The certificates, PEM in base64; first the one that was asked for.', { format: 'byte' }),
      }),
    },
    ['spec'],
  ),
};
