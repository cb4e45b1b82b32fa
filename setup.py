"""Package metadata: one tree for pip (`pip install .[depth]`) and colcon (ament_python)."""

from glob import glob

from setuptools import find_packages, setup

NAME = 'tosa_ros'
NODES = ('depth_node', 'vision_node', 'qa_node')

EXTRAS = {
    # Only for machines without a ROS distribution: on a robot, source yours and leave this out.
    'ros': [
        f'{package}; python_version >= "3.11"'
        for package in (
            'ros-rclpy[fastrtps]',
            'ros-diagnostic-msgs',
            'ros-geometry-msgs',
            'ros-lifecycle-msgs',
            'ros-rosgraph-msgs',
            'ros-sensor-msgs',
            'ros-std-msgs',
            'ros-std-srvs',
        )
    ]
    + ['pyyaml'],
    'depth': ['opencv-python-headless'],
    'pointcloud': [
        'open3d-cpu; platform_machine == "x86_64"',
        'open3d; platform_machine != "x86_64"',
    ],
    'eval': ['rosbags>=0.11', 'av>=12', 'matplotlib>=3.7', 'pycocoevalcap>=1.2'],
    'dev': ['pytest>=8', 'hypothesis>=6', 'ruff>=0.6'],
}

setup(
    name=NAME,
    version='0.1.0',
    description='Ask a robot about what it sees: RGB-D question answering with spatially aware '
    'token merging (ToSA)',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(exclude=['tests', 'tests.*', 'benchmarks', 'benchmarks.*']),
    package_data={NAME: ['assets/**/*']},
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
        'torch>=2.4',
        'tqdm>=4.60',
        # The `...Pil` image processors (no torchvision needed) are from transformers 5.
        'transformers>=5,<6',
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
