"""tf2_msgs/TFMessage, which PyPI lacks, made as ROS makes it: rosidl's generators and a compiler.

A distribution's package has the same type hash, so that DDS takes them for one type. Without the
type support for introspection, which nothing here uses, rcutils grumbles on stderr.
"""

from __future__ import annotations

import importlib.machinery
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

# As in ROS distributions: `ros2 topic info -v /tf` prints it.
TYPE_HASH = 'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'
_IDL = """\
#include "geometry_msgs/msg/TransformStamped.idl"
module tf2_msgs { module msg { struct TFMessage {
  sequence<geometry_msgs::msg::TransformStamped> transforms;
}; }; };
"""
_KINDS = ('generator_c', 'typesupport_fastrtps_c', 'typesupport_fastrtps_cpp', 'generator_py')
_LIBRARIES = (
    *(f'geometry_msgs__rosidl_{kind}' for kind in _KINDS),
    *('std_msgs__rosidl_generator_c', 'builtin_interfaces__rosidl_generator_c'),
    *('rosidl_runtime_c', 'rosidl_typesupport_c'),
    *('rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_fastrtps_cpp', 'rcutils', 'fastcdr'),
)


def make_tf2_msgs(folder: Path) -> Path:
    """Writes the package tf2_msgs below the folder, which then belongs on Python's path."""
    package = folder / 'tf2_msgs'
    (package / 'msg').mkdir(parents=True)
    (package / '__init__.py').touch()
    (package / 'msg' / 'TFMessage.idl').write_text(_IDL)
    # In a process of its own: empy, which fills the templates, takes hold of sys.stdout.
    subprocess.run(
        [sys.executable, __file__, package],
        env={**os.environ, 'AMENT_PREFIX_PATH': sys.prefix},
        check=True,
    )
    assert TYPE_HASH in (package / 'msg' / 'TFMessage.json').read_text()
    _compile(folder, package)
    return folder


def _generate(package: Path) -> None:
    import rosidl_typesupport_c
    from ament_index_python import get_package_share_directory
    from rosidl_cli.command.helpers import legacy_generator_arguments_file
    from rosidl_generator_c.cli import GenerateC
    from rosidl_generator_py.cli import GeneratePython
    from rosidl_generator_type_description.cli import HashTypeDescription
    from rosidl_typesupport_fastrtps_c.cli import GenerateFastRTPSCTypesupport

    given = {
        'package_name': 'tf2_msgs',
        'interface_files': [f'{package}:msg/TFMessage.idl'],
        'include_paths': [str(Path(sys.prefix) / 'share')],
        'output_path': package,
    }
    hashes = HashTypeDescription('hash').generate_type_hashes(**given)
    GenerateC('c').generate(**given, type_description_files=hashes)
    only = ['rosidl_typesupport_c']
    GeneratePython('py', typesupport_implementations=only).generate(**given)
    GenerateFastRTPSCTypesupport('fastrtps_c').generate(**given)
    # With one implementation it is linked, not looked for among the system's libraries.
    templates = Path(get_package_share_directory('rosidl_typesupport_c')) / 'resource'
    with legacy_generator_arguments_file(**given, templates_path=templates) as arguments:
        rosidl_typesupport_c.generate_c(arguments, ['rosidl_typesupport_fastrtps_c'])


def _compile(folder: Path, package: Path) -> None:
    import numpy as np

    prefix = Path(sys.prefix)
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    include = prefix / 'include'
    shown = [folder, include, *include.iterdir(), np.get_include(), sysconfig.get_path('include')]
    flags = ['-fPIC', '-O0', '-w', *(f'-I{path}' for path in shown)]
    objects = []
    for number, source in enumerate(sorted(package.rglob('*.c*'))):
        objects.append(folder / f'{number}.o')
        compiler = 'gcc' if source.suffix == '.c' else 'g++'
        subprocess.run([compiler, '-c', *flags, source, '-o', objects[-1]], check=True)
    built = package / f'tf2_msgs_s__rosidl_typesupport_c{suffix}'
    libraries = [f'-L{prefix / "lib"}', *(f'-l{name}' for name in _LIBRARIES)]
    subprocess.run(['g++', '-shared', *objects, *libraries, '-o', built], check=True)


if __name__ == '__main__':
    _generate(Path(sys.argv[1]))
